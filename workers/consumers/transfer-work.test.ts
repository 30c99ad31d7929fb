/** How the parts of one message move: a few at a time, no more once one has failed, and told of whatever became of the others. */
import { expect, test } from "vitest";
import type { MovedPart, StageOf } from "../../schemas/transfer.ts";
import type { PartRange } from "../stores/part-digest.ts";
import { StoreFailure } from "../stores/store-failure.ts";
import { moveParts } from "./transfer-work.ts";
import { type Facts, ToldFailure, type Workbench } from "./workbench.ts";

const partSizeBytes = 5 * 1024 ** 2;
const numbers = [1, 2, 3, 4, 5, 6, 7, 8];
const stage: StageOf<"parts"> = {
  type: "parts",
  uploadId: "u",
  partSizeBytes,
  pin: null,
  midstate: null,
  parts: numbers,
};
const bench = { step: { kind: "archive" }, op: 1, awaited: numbers } as unknown as Workbench;

/** Parts that end only when they are told to. */
function slowParts() {
  const under = new Map<number, { end(): void; fail(error: Error): void }>();
  const begun: number[] = [];
  const move = ({ n, sizeBytes }: PartRange) =>
    new Promise<MovedPart>((resolve, reject) => {
      begun.push(n);
      const over = (settle: () => void) => () => {
        under.delete(n);
        settle();
      };
      const end = over(() => resolve({ n, sizeBytes, etag: `part-${n}`, md5: null, sha256: null }));
      under.set(n, { end, fail: (error) => over(() => reject(error))() });
    });
  const moving = moveParts(stage, numbers.length * partSizeBytes, bench, move);
  moving.catch(() => undefined);
  return { under, begun, moving };
}

const turn = () => new Promise((resolve) => setTimeout(resolve, 0));
const movedIn = (facts: Facts) =>
  facts.flatMap((fact) => (fact.type === "PartsMoved" ? fact.parts.map(({ n }) => n) : []));

test("four move at a time, each begins when another ends, and all are told of in order", async () => {
  const { under, begun, moving } = slowParts();
  expect(begun).toEqual([1, 2, 3, 4]);
  for (const n of [3, 1, 4, 2, 5, 6, 8, 7]) {
    expect(under.size).toBeLessThanOrEqual(4);
    under.get(n)?.end();
    await turn();
  }
  expect(begun).toEqual(numbers);
  expect(movedIn(await moving)).toEqual(numbers);
});

test("after a failure no other begins; those under way are told of, and the rest is owed", async () => {
  const { under, begun, moving } = slowParts();
  under.get(2)?.fail(new StoreFailure("WASABI_UNAVAILABLE", "It is away."));
  await turn();
  for (const n of [1, 3, 4]) under.get(n)?.end();
  const failure = await moving.then(
    () => null,
    (error: unknown) => error,
  );
  expect(begun).toEqual([1, 2, 3, 4]);
  if (!(failure instanceof ToldFailure)) throw failure;
  expect(failure).toMatchObject({ code: "WASABI_UNAVAILABLE", parts: [2, 5, 6, 7, 8], startOver: false });
  expect(movedIn(failure.facts)).toEqual([1, 3, 4]);
});
