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
import { type Facts, FailureWithFact, NotWanted, type Workbench } from "./workbench.ts";

export interface Delivery {
  messageId: string;
  attempts: number;
}

interface Job {
  command: StepCommand;
  delivery: Delivery;
  door: AssetDoor;
  bench: Omit<Workbench, "door" | "signal" | "claim">;
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
  const began = await answeredByDoor(door.begin(step, command.op));
  if (!began.go) return;
  const holder = `${delivery.messageId}:${delivery.attempts}`;
  const report = (key: string, event: AssetEvent) => tell(door, command, { key, holder }, event);
  const stopped = new AbortController();
  const stopHeartbeat = startHeartbeat(door, step, command.op, stopped);
  const timer = setTimeout(() => stopped.abort(outOfTime()), longestWorkMs);
  try {
    const claim = (verb: OpVerb) => claimKey(door, step, command.op, { verb, holder }, stopped.signal);
    const facts = await work({ ...bench, door, signal: stopped.signal, claim });
    // A beat that arrives after the fact would look like new work.
    await stopHeartbeat();
    for (const fact of facts) await report(`${command.id}:${fact.type}`, fact);
  } catch (caught) {
    await stopHeartbeat();
    await tellFailure(stopped.signal.aborted ? stopped.signal.reason : caught);
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
    if (failure.retryable) {
      // The same command may be sent, and deferred, more than once: each deferral is a fact of its own.
      const key = `${command.id}:${holder}`;
      await report(key, { type: "StepDeferred", step, op: command.op, code, message, retryAfterMs });
    } else {
      const key = `${command.id}:StepFailed`;
      await report(key, { type: "StepFailed", step, op: command.op, code, message });
    }
    if (failure instanceof FailureWithFact) {
      await report(`${command.id}:${failure.fact.type}`, failure.fact);
    }
  }
}

const outOfTime = () => new StoreFailure(codeOf("silence", "consumer"), "The work took longer than a consumer lives.");

/** @returns what stops it and waits for the beat under way */
function startHeartbeat(door: AssetDoor, step: StepRef, op: number, stopped: AbortController): () => Promise<void> {
  let beat: Promise<void> = Promise.resolve();
  const timer = setInterval(() => {
    beat = answeredByDoor(door.begin(step, op)).then(
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
  { key, holder }: { key: string; holder: string },
  event: AssetEvent,
): Promise<void> {
  const result = await answeredByDoor(door.apply({ key, by: `${command.type} consumer`, holder, event }));
  if (result.outcome !== "rejected" && result.outcome !== "conflict") return;
  const { id: commandId, fileId } = command;
  log({ event: "command.fact-refused", commandId, fileId, type: event.type, reason: result.reason });
}
