/**
 * Runs the work of one step: begins with the object's leave, gives signs of life while it lasts, and tells how it ended.
 * What a store may do becomes a fact; anything else is a bug and is thrown, for the queue to deliver again.
 */
import type { AssetDoor, OpVerb } from "../../durable-objects/asset-door.ts";
import type { AssetEvent } from "../../schemas/event.ts";
import { codeOf, type FailurePolicy, failurePolicy } from "../../schemas/failure-policy.ts";
import { type StepRef, stepName } from "../../schemas/step.ts";
import { log } from "../log.ts";
import { within } from "../stores/deadline.ts";
import { StoreFailure } from "../stores/store-failure.ts";
import { type StepCommand, stepOf } from "./step-of.ts";
import { type Facts, NotWanted, ToldFailure, type Workbench } from "./workbench.ts";

export interface Delivery {
  messageId: string;
  attempts: number;
}

interface Job {
  command: StepCommand;
  delivery: Delivery;
  door: AssetDoor;
  bench: Pick<Workbench, "env" | "config" | "wasabi">;
  work(bench: Workbench): Promise<Facts>;
}

const heartbeatMs = 10_000;
const doorTimeoutMs = 30_000;
/** A consumer lives 15 minutes; what is left is for stopping in order. */
const longestWorkMs = 14 * 60_000;
const longestMessage = 500;

/** No RPC to an object is waited for without end. */
export function answeredByDoor<T>(call: Promise<T>): Promise<T> {
  return within(call, doorTimeoutMs, () => new Error("the asset's object did not answer in time"));
}

export async function runStep({ command, delivery, door, bench, work }: Job): Promise<void> {
  const step = stepOf(command);
  const { op } = command;
  const holder = `${delivery.messageId}:${delivery.attempts}`;
  const begin = () => beginWork(door, command, { step, holder });
  const began = await begin();
  if (!began.go) return;
  const report = (key: string | null, event: AssetEvent) => tell(door, command, { key, holder }, event);
  const stopped = new AbortController();
  const stopHeartbeat = startHeartbeat(begin, stopped);
  const timer = setTimeout(() => stopped.abort(outOfTime()), longestWorkMs);
  try {
    const claim = (verb: OpVerb) => claimKey(door, step, op, { verb, holder }, stopped.signal);
    const { signal } = stopped;
    const facts = await work({ ...bench, door, step, op, awaited: began.parts, signal, claim });
    // A beat that arrives after the fact would look like new work.
    await stopHeartbeat();
    await tellFacts(facts);
  } catch (caught) {
    await stopHeartbeat();
    const told = caught instanceof ToldFailure || !stopped.signal.aborted;
    await tellFailure(told ? caught : stopped.signal.reason);
  } finally {
    clearTimeout(timer);
  }

  async function tellFailure(failure: unknown): Promise<void> {
    if (failure instanceof NotWanted) return;
    if (!(failure instanceof StoreFailure)) throw failure;
    const { code, retryAfterMs } = failure;
    const policy: FailurePolicy = failurePolicy[code];
    if (policy === "stale") return;
    const message = failure.message.slice(0, longestMessage);
    const told = failure instanceof ToldFailure ? failure : null;
    if (failure.retryable) {
      // The same command may be sent, and deferred, more than once: each deferral is a fact of its own.
      const about = { ...(told?.parts && { parts: told.parts }), ...(told?.startOver && { startOver: true }) };
      const deferral: AssetEvent = { type: "StepDeferred", step, op, code, message, retryAfterMs, ...about };
      await report(`${command.id}:${holder}`, deferral);
    } else {
      await report(`${command.id}:StepFailed`, { type: "StepFailed", step, op, code, message });
    }
    await tellFacts(told?.facts ?? []);
  }

  /** Which parts moved is told as often as it happens; the object knows what it was told. */
  async function tellFacts(facts: Facts): Promise<void> {
    for (const fact of facts) await report(fact.type === "PartsMoved" ? null : `${command.id}:${fact.type}`, fact);
  }
}

interface Worker {
  step: StepRef;
  holder: string;
}

/** Also what a beat says again: of a transfer's message it keeps the parts from being given to another delivery. */
async function beginWork(
  door: AssetDoor,
  command: StepCommand,
  { step, holder }: Worker,
): Promise<{ go: true; parts: number[] } | { go: false; reason: string }> {
  const { op } = command;
  if ("stage" in command && command.stage.type === "parts") {
    const { uploadId, parts } = command.stage;
    return answeredByDoor(door.beginParts(step, op, { uploadId, parts, holder }));
  }
  const answer = await answeredByDoor(door.begin(step, op));
  return answer.go ? { go: true, parts: [] } : answer;
}

const outOfTime = () => new StoreFailure(codeOf("silence", "consumer"), "The work took longer than a consumer lives.");

/** @returns what stops it and waits for the beat under way */
function startHeartbeat(
  begin: () => Promise<{ go: true } | { go: false; reason: string }>,
  stopped: AbortController,
): () => Promise<void> {
  let beat: Promise<void> = Promise.resolve();
  const timer = setInterval(() => {
    beat = begin().then(
      (answer) => {
        if (!answer.go) stopped.abort(new NotWanted(answer.reason));
      },
      // The object restarts or is busy: the next beat tells; its watchdog outlasts two lost ones.
      () => undefined,
    );
  }, heartbeatMs);
  return () => {
    clearInterval(timer);
    return beat;
  };
}

async function claimKey(
  door: AssetDoor,
  step: StepRef,
  op: number,
  { verb, holder }: { verb: OpVerb; holder: string },
  signal: AbortSignal,
): Promise<void> {
  signal.throwIfAborted();
  const answer = await answeredByDoor(door.claim(step, op, verb, holder));
  if (answer.granted) return;
  if (answer.reason === "stale") throw new NotWanted("a newer operation has replaced this one");
  const { retryAfterMs } = answer;
  const code = codeOf("object", "another operation holds the key");
  throw new StoreFailure(code, `Another operation holds ${stepName(step)}.`, { retryAfterMs });
}

async function tell(
  door: AssetDoor,
  command: StepCommand,
  { key, holder }: { key: string | null; holder: string },
  event: AssetEvent,
): Promise<void> {
  const result = await answeredByDoor(door.apply({ key, by: `${command.type} consumer`, holder, event }));
  if (result.outcome !== "rejected" && result.outcome !== "conflict") return;
  const { id: commandId, fileId } = command;
  log({ event: "command.fact-refused", commandId, fileId, type: event.type, reason: result.reason });
}
