/** A bucket that fails when told to, and is itself otherwise. */
import { expect, test } from "vitest";
import { calmR2, faultyBucket, R2Rule } from "./r2-fault.ts";

class Upload {
  readonly key = "k";
  readonly #done: string[];
  constructor(done: string[]) {
    this.#done = done;
  }
  async uploadPart(n: number, _body: string) {
    this.#done.push(`part ${n}`);
    return { partNumber: n };
  }
  async complete() {
    this.#done.push("complete");
    return { size: 1 };
  }
  async abort() {
    this.#done.push("abort");
  }
}

/** Private fields, as the platform's own objects have: they answer only to their true `this`. */
class Bucket {
  readonly #done: string[] = [];
  get done() {
    return this.#done;
  }
  async head(key: string) {
    this.#done.push(`head ${key}`);
    return { size: 8 };
  }
  async get(key: string) {
    this.#done.push(`get ${key}`);
    return { size: 8, body: new Blob(["12345678"]).stream(), arrayBufferOf: () => this.#done.length };
  }
  async put(key: string, _body: string) {
    this.#done.push(`put ${key}`);
    return { size: 8 };
  }
  async createMultipartUpload(_key: string) {
    this.#done.push("create");
    return new Upload(this.#done);
  }
  resumeMultipartUpload(_key: string, _id: string) {
    return new Upload(this.#done);
  }
}

function scene(...rules: R2Rule[]) {
  const weather = calmR2();
  weather.set(rules.map((rule) => R2Rule.parse(rule)));
  const real = new Bucket();
  return { weather, real, bucket: faultyBucket(real, weather) };
}

test("calm: every operation is carried out, and answers as it does", async () => {
  const { bucket, real, weather } = scene();
  await bucket.put("a", "x");
  expect(await bucket.head("a")).toEqual({ size: 8 });
  const upload = await bucket.createMultipartUpload("b");
  expect(upload.key).toBe("k");
  await upload.uploadPart(1, "x");
  await bucket.resumeMultipartUpload("b", "id").complete();
  expect(real.done).toEqual(["put a", "head a", "create", "part 1", "complete"]);
  expect(weather.status().struck).toBe(0);
});

test("error: nothing is done, in R2's own words; only the named operation, and it is counted", async () => {
  const { bucket, real, weather } = scene({ kind: "error", operation: "uploadPart" });
  const upload = await bucket.createMultipartUpload("b");
  await expect(upload.uploadPart(1, "x")).rejects.toThrow(/internal error.*\(10001\)/);
  await expect(bucket.resumeMultipartUpload("b", "id").uploadPart(2, "x")).rejects.toThrow("10001");
  expect(real.done).toEqual(["create"]);
  expect(weather.status()).toMatchObject({ struck: 2, firstStruckAtMs: expect.any(Number) });
});

test("lost answer: it is done, and an error is told", async () => {
  const { bucket, real } = scene({ kind: "lost-answer", operation: "any" });
  await expect(bucket.put("a", "x")).rejects.toThrow("10001");
  expect(real.done).toEqual(["put a"]);
});

test("slow: until its time, or until it is lifted", async () => {
  const { bucket, weather } = scene({ kind: "slow", operation: "head", delayMs: 60_000 });
  setTimeout(() => weather.set([]), 150);
  const from = performance.now();
  expect(await bucket.head("a")).toEqual({ size: 8 });
  expect(performance.now() - from).toBeGreaterThan(90);
});

test("short: the body ends early, the object is itself", async () => {
  const { bucket } = scene({ kind: "short", operation: "get" });
  const object = await bucket.get("a");
  expect(object.size).toBe(8);
  expect(object.arrayBufferOf()).toBe(1);
  const reader = object.body.getReader();
  expect(new TextDecoder().decode((await reader.read()).value)).toBe("1234");
  await expect(reader.read()).rejects.toThrow("connection lost");
});
