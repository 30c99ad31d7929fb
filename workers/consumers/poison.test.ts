/**
 * A poison asset told from a bad runner, by the real object over real sockets: who failed counts, silence counts half, an
 * outage counts nothing; whichever way it ends, no upload is left open and a retry begins afresh.
 */
import { expect, test } from "vitest";
import { newUpload } from "../../test/door-worker.ts";
import { content, openPipeline, originHost, type Pipeline, serve } from "../../test/pipeline-worker.ts";
import { encode, failEncode, vanish } from "../../test/runner-worker.ts";

const bytes = content(1_000);

/** The original is archived, and the job offered. */
async function offered(): Promise<Pipeline> {
  const upload = newUpload({ sizeBytes: bytes.length, source: { kind: "url", url: `https://${originHost}/a.mov` } });
  const pipeline = await openPipeline(upload.fileId);
  pipeline.origin = (asked) => serve({ bytes, etag: '"v1"' }, asked);
  await pipeline.notice(upload);
  await pipeline.drive(({ state }) => state === "archived");
  return pipeline;
}

/** Whatever time has to pass until the job is offered again, or has failed. */
async function untilOffered(pipeline: Pipeline): Promise<void> {
  const offers = async () => (await pipeline.rows("SELECT name FROM timer WHERE name = 'lease'")).length === 0;
  while (!(await offers())) await pipeline.pass();
}

async function expectNothingOpen(pipeline: Pipeline): Promise<void> {
  await pipeline.takeAll();
  expect([...pipeline.openUploads]).toEqual([]);
}

async function expectRetryHelps(pipeline: Pipeline): Promise<void> {
  await pipeline.tell({ type: "RetryRequested" });
  await encode(pipeline);
  await pipeline.drive(
    ({ renditions }) => renditions.length > 0 && renditions.every((one) => one.status === "archived"),
  );
  expect((await pipeline.asset()).problem?.code).not.toBe("POISON_ASSET");
  await expectNothingOpen(pipeline);
}

test("three different runners fail on it: it is poison, whoever tries next is refused, a retry begins afresh", async () => {
  const pipeline = await offered();
  for (const runnerId of ["one", "two", "three"]) {
    expect((await pipeline.asset()).state).toBe("archived");
    await failEncode(pipeline, runnerId, "ENCODER_FAILED");
  }
  const asset = await pipeline.asset();
  expect(asset).toMatchObject({
    state: "failed",
    problem: { code: "POISON_ASSET", message: expect.stringContaining("three has trouble") },
  });
  await expect(failEncode(pipeline, "four", "ENCODER_FAILED")).rejects.toThrow("The job has failed.");
  await expectRetryHelps(pipeline);
});

test("one runner alone has three tries, and then it fails with what that runner said", async () => {
  const pipeline = await offered();
  for (let attempt = 1; attempt <= 3; attempt++) await failEncode(pipeline, "one", "ENCODER_FAILED");
  expect(await pipeline.asset()).toMatchObject({ state: "failed", problem: { code: "ENCODER_FAILED" } });
  await expectRetryHelps(pipeline);
});

test("two bad tries of one runner and a good one of another: distributed to the archive, nothing is held against it", async () => {
  const pipeline = await offered();
  for (let attempt = 1; attempt <= 2; attempt++) await failEncode(pipeline, "bad", "ENCODER_FAILED");
  await encode(pipeline);
  await pipeline.drive(({ renditions }) => renditions.every((one) => one.status === "archived"));
  expect((await pipeline.asset()).problem).toBeNull();
  await expectNothingOpen(pipeline);
});

test("an outage that breaks encodes off counts against nobody", async () => {
  const pipeline = await offered();
  for (let attempt = 1; attempt <= 7; attempt++) await failEncode(pipeline, `runner-${attempt}`, "WASABI_UNAVAILABLE");
  expect((await pipeline.asset()).state).toBe("archived");
  await expectRetryHelps(pipeline);
});

test("runners that vanish with it leave no upload open, and six of them are enough", async () => {
  const pipeline = await offered();
  for (let attempt = 1; attempt <= 6; attempt++) {
    expect((await pipeline.asset()).state).toBe("archived");
    await vanish(pipeline, `runner-${attempt}`);
    expect(pipeline.openUploads.size).toBe(1);
    await untilOffered(pipeline);
    await expectNothingOpen(pipeline);
  }
  expect(await pipeline.asset()).toMatchObject({ state: "failed", problem: { code: "POISON_ASSET" } });
});
