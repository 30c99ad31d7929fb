/** One read for all who ask meanwhile; one that never ends holds up nobody for long. */
import { expect, test } from "vitest";
import { SharedRead } from "./shared-read.ts";

const ctx = { waitUntil: () => undefined };

function reader(answers: (() => Promise<string>)[]) {
  const faults: unknown[] = [];
  let reads = 0;
  const shared = new SharedRead<string>({
    read: () => answers[reads++]?.() ?? Promise.reject(new Error("no more answers")),
    freshMs: 1_000,
    timeoutMs: 20,
    retryMs: 100,
    onFault: (fault) => faults.push(fault),
  });
  return { shared, faults, reads: () => reads };
}

const never = () => new Promise<string>(() => undefined);

test("many who ask at once share a read, and whoever asks for something fresher has it read again", async () => {
  const { shared, reads } = reader([async () => "one", async () => "two"]);
  const answers = await Promise.all([1, 2, 3].map(() => shared.get(0, ctx)));
  expect(answers.map((answer) => answer?.value)).toEqual(["one", "one", "one"]);
  expect((await shared.get(999, ctx))?.value).toBe("one");
  expect((await shared.get(500, ctx, 400))?.value).toBe("two");
  expect(reads()).toBe(2);
});

test("a read that never ends is given up, by those who wait for it too, and the next one takes its place", async () => {
  const { shared, faults } = reader([never, async () => "late"]);
  expect(await Promise.all([shared.get(0, ctx), shared.get(1, ctx)])).toEqual([null, null]);
  expect(faults).toHaveLength(1);
  expect(await shared.get(50, ctx)).toBeNull();
  expect(await shared.get(101, ctx)).toEqual({ value: "late", atMs: 101 });
});

test("after a read that failed the last answer holds, and nobody tries again at once", async () => {
  const { shared, reads, faults } = reader([async () => "old", async () => Promise.reject(new Error("away"))]);
  await shared.get(0, ctx);
  for (const atMs of [2_000, 2_050, 2_099]) expect(await shared.get(atMs, ctx)).toEqual({ value: "old", atMs: 0 });
  expect([reads(), faults.length]).toEqual([2, 1]);
});
