/**
 * What every copying command does alike when its object moves in parts: hands the upload it opened to the asset, moves
 * the parts of one message, a few at a time, and tells of those that arrived, whatever became of the others.
 */
import type { FailureCode } from "../../schemas/failure.ts";
import type { MovedPart, StageOf, TransferPlan } from "../../schemas/transfer.ts";
import type { PartRange } from "../stores/part-digest.ts";
import { StoreFailure } from "../stores/store-failure.ts";
import { mostPartsAtOnce, partRange, partsPerMessage } from "../stores/transfer-part.ts";
import { answeredByDoor } from "./step-work.ts";
import { type Facts, NotWanted, ToldFailure, type Workbench } from "./workbench.ts";

/** What no other try in the same upload fixes. */
const startsOver: ReadonlySet<FailureCode> = new Set(["UPLOAD_LOST", "SOURCE_CHANGED"]);

/** How an object of this size is cut; its parts may move in any order unless a midstate says otherwise. */
export function transferPlan(upload: { uploadId: string; sizeBytes: number; partSizeBytes: number }) {
  const { sizeBytes, partSizeBytes } = upload;
  const parts = Math.ceil(sizeBytes / partSizeBytes);
  return { ...upload, parts, partsPerMessage: partsPerMessage(partSizeBytes), pin: null, midstate: null };
}

/** @returns whether this upload is the one that the parts go to; if not, whoever opened it aborts it */
export async function handOver({ door, step, op }: Workbench, plan: TransferPlan): Promise<boolean> {
  const answer = await answeredByDoor(door.openTransfer(step, op, plan));
  return answer.go && answer.uploadId === plan.uploadId;
}

/** The ranges of those of a message's parts that are still awaited. */
export function awaitedRanges(stage: StageOf<"parts">, sizeBytes: number, { awaited }: Workbench): PartRange[] {
  return awaited.map((n) => partRange(n, sizeBytes, stage.partSizeBytes));
}

/** @throws ToldFailure, with what did arrive, when a part did not */
export async function moveParts(
  stage: StageOf<"parts">,
  sizeBytes: number,
  bench: Workbench,
  move: (part: PartRange) => Promise<MovedPart>,
): Promise<Facts> {
  const moved: MovedPart[] = [];
  const failures: unknown[] = [];
  const waiting = awaitedRanges(stage, sizeBytes, bench).values();
  const mover = async () => {
    for (const part of waiting) {
      await move(part).then(
        (arrived) => moved.push(arrived),
        (failure: unknown) => failures.push(failure),
      );
      // What ails one part ails the next: they go with another message, after its backoff.
      if (failures.length > 0) return;
    }
  };
  await Promise.all(Array.from({ length: mostPartsAtOnce }, mover));
  const inOrder = moved.toSorted((a, b) => a.n - b.n);
  const facts = movedFacts(stage, bench, inOrder, null);
  if (failures.length === 0) return facts;
  throw unmoved(worstOf(failures), bench, facts);
}

export function movedFacts(
  { uploadId }: StageOf<"parts">,
  { step, op }: Workbench,
  parts: MovedPart[],
  midstate: string | null,
): Facts {
  return parts.length === 0 ? [] : [{ type: "PartsMoved", step, op, uploadId, parts, midstate }];
}

/** A bug goes as it is; so does what is no longer wanted; of failures, one that ends the step before one that waits. */
function worstOf(failures: readonly unknown[]): unknown {
  const find = (test: (failure: unknown) => boolean) => failures.find(test);
  return (
    find((failure) => !(failure instanceof StoreFailure) && !(failure instanceof NotWanted)) ??
    find((failure) => failure instanceof NotWanted) ??
    find((failure) => failure instanceof StoreFailure && !failure.retryable) ??
    find((failure) => failure instanceof StoreFailure && startsOver.has(failure.code)) ??
    failures[0]
  );
}

/** @param facts what this message did achieve */
export function unmoved(failure: unknown, { awaited }: Workbench, facts: Facts): unknown {
  if (!(failure instanceof StoreFailure)) return failure;
  const arrived = new Set(facts.flatMap((fact) => (fact.type === "PartsMoved" ? fact.parts.map(({ n }) => n) : [])));
  const told = failure instanceof ToldFailure ? failure.facts : [];
  return new ToldFailure(failure, {
    facts: [...told, ...facts],
    parts: awaited.filter((n) => !arrived.has(n)),
    startOver: startsOver.has(failure.code),
  });
}

/** Of a completion: an upload that is lost, or that holds other bytes than were told, starts over. */
export function incomplete(failure: unknown): unknown {
  if (!(failure instanceof StoreFailure)) return failure;
  const again = startsOver.has(failure.code) || failure.code === "CHECKSUM_MISMATCH";
  return again ? new ToldFailure(failure, { startOver: true }) : failure;
}
