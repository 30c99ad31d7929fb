/**
 * What the worker logs: one JSON object a line, told apart by `event`. Every movement of a file passes the Asset object,
 * so `asset.changed` alone is the log of all movements. Never a token, never a presigned query.
 */
import { z } from "zod";
import { AssetState } from "./asset.ts";
import { FailureCode } from "./failure.ts";

const request = { requestId: z.string(), method: z.string(), path: z.string() };

export const LogEvent = z.discriminatedUnion("event", [
  /** An event was applied: what, by whom, and the state it led to. */
  z.object({
    event: z.literal("asset.changed"),
    fileId: z.string(),
    revision: z.int(),
    type: z.string(),
    by: z.string(),
    state: AssetState,
    detail: z.record(z.string(), z.unknown()),
  }),
  /** An event contradicts the state: a bug somewhere. Nothing was stored. */
  z.object({
    event: z.literal("asset.event-rejected"),
    fileId: z.string().nullable(),
    type: z.string(),
    by: z.string(),
  }),
  z.object({ event: z.literal("asset.apply-failed"), type: z.string(), key: z.string().nullable() }),
  /** A timer that this code cannot read or decide, as a newer version leaves it: it rests, and the others go on. */
  z.object({ event: z.literal("asset.timer-rests"), fileId: z.string().nullable(), name: z.string() }),
  /** The queue did not take a command, or a newer version wrote it; it stays in the outbox. */
  z.object({ event: z.literal("command.unsent"), commandId: z.string(), type: z.string() }),
  /** A message that its asset did not send: nothing was done. */
  z.object({
    event: z.literal("command.unconfirmed"),
    queue: z.string(),
    /** Of a message that runners pull, neither this nor the next is known. */
    messageId: z.string().nullable(),
    type: z.string(),
    commandId: z.string().nullable(),
    fileId: z.string(),
  }),
  /** A consumer's fact was not accepted. */
  z.object({
    event: z.literal("command.fact-refused"),
    commandId: z.string(),
    fileId: z.string(),
    type: z.string(),
    reason: z.string().nullable(),
  }),
  /** A message could not be handled; the queue delivers it again, or it ends as a dead letter. */
  z.object({ event: z.literal("queue.message-failed"), queue: z.string(), messageId: z.string(), attempts: z.int() }),
  /** The queues that runners wait for could not be pulled; asked again after a pause. */
  z.object({ event: z.literal("pull.failed"), queue: z.string(), inARow: z.int() }),
  /** The asset was not asked whether it sent the message, which waits for the next look. */
  z.object({ event: z.literal("pull.confirm-failed"), fileId: z.string() }),
  /** A message of a transcode queue that is no job: given back, it ends as a dead letter. */
  z.object({ event: z.literal("pull.unreadable"), queue: z.string(), attempts: z.int(), problem: z.string() }),
  /** A message could not be given back; it is visible again when its lease is over. */
  z.object({ event: z.literal("pull.not-given-back"), queue: z.string() }),
  /** A message that its asset did not send could not be taken off its queue; it is met again when its lease is over. */
  z.object({ event: z.literal("pull.not-dropped"), queue: z.string() }),
  /** A batch of documents was not written as a whole; each of them is tried alone. */
  z.object({ event: z.literal("catalogue.batch-failed"), files: z.int() }),
  /** The rows are written; how long they took is missing from the figures. */
  z.object({ event: z.literal("catalogue.lag-unnoted") }),
  z.object({ event: z.literal("upload.abort-failed"), key: z.string() }),
  /** An upload that nobody knew any more was aborted. */
  z.object({ event: z.literal("stray-uploads.aborted"), key: z.string(), initiatedAt: z.string() }),
  z.object({ event: z.literal("stray-uploads.swept"), found: z.int(), aborted: z.int() }),
  /** The store's uploads could not be listed, so that nothing was touched. Said once until it changes. */
  z.object({ event: z.literal("stray-uploads.unlistable"), code: FailureCode }),
  /** The asset was not asked whether it holds an upload; it counts as held. */
  z.object({ event: z.literal("upload.unanswered"), fileId: z.string(), key: z.string() }),
  /** The asset was not asked whether its copy may leave R2; it is nominated again within the hour. */
  z.object({ event: z.literal("retention.nomination-failed"), fileId: z.string(), quality: z.string() }),
  /** An original that may be lost could not be looked at; it is looked at again with the next tick. */
  z.object({ event: z.literal("original.look-failed"), fileId: z.string() }),
  z.object({ event: z.literal("timer.job-failed"), job: z.string() }),
  /** An order about a project: it goes on at the next tick, or an asset did not hear of it. */
  z.object({ event: z.literal("project-run.failed"), runId: z.string() }),
  z.object({ event: z.literal("project-run.unanswered"), runId: z.string(), fileId: z.string() }),
  /** What left Wasabi was not added to the ledger; it goes with the isolate's next. */
  z.object({ event: z.literal("egress.unwritten") }),
  /** Watchers of many assets miss one change. */
  z.object({ event: z.literal("feed.unreachable"), clientName: z.string() }),
  z.object({ event: z.literal("feed.snapshot-failed"), clientName: z.string() }),
  /** The last copy of the deny list holds; an isolate that has none lets in whoever has a good signature. */
  z.object({ event: z.literal("token.denylist-unread") }),
  /** What `/healthz` could not reach. */
  z.object({ event: z.literal("health.unreachable"), what: z.enum(["database", "objects", "worker"]) }),
  /** An alert of severity critical was raised. */
  z.object({ event: z.literal("alert.critical"), cause: z.string(), code: FailureCode, message: z.string() }),
  z.object({ event: z.literal("request.failed"), ...request, code: FailureCode }),
  /** The order is on record, without how many copies took it. */
  z.object({ event: z.literal("audit.outcome-unnoted"), fileId: z.string(), action: z.string() }),
  /** Delivery went on with the other tier. */
  z.object({ event: z.literal("delivery.tier-failed"), ...request, code: FailureCode }),
  /** A response was broken off in the middle; `atByte`: by its tier, and the rest was looked for elsewhere. */
  z.object({
    event: z.literal("delivery.broken-off"),
    ...request,
    servedFrom: z.string(),
    atByte: z.int().nullable(),
  }),
  /** What one isolate has served within about a minute, by tier. */
  z.object({
    event: z.literal("delivery.served"),
    tiers: z.partialRecord(z.enum(["cache", "r2", "wasabi", "none"]), z.object({ requests: z.int(), bytes: z.int() })),
  }),
  /** An access, a miss or a loss was not reported to the asset. */
  z.object({ event: z.literal("delivery.note-failed"), ...request, note: z.string() }),
]);
export type LogEvent = z.infer<typeof LogEvent>;

export type LogLevel = "info" | "warn" | "error";

export const levelOf: Readonly<Record<LogEvent["event"], LogLevel>> = {
  "asset.changed": "info",
  "asset.event-rejected": "error",
  "asset.apply-failed": "error",
  "asset.timer-rests": "warn",
  "command.unsent": "warn",
  "command.unconfirmed": "error",
  "command.fact-refused": "error",
  "queue.message-failed": "error",
  "pull.failed": "warn",
  "pull.confirm-failed": "warn",
  "pull.unreadable": "warn",
  "pull.not-given-back": "warn",
  "pull.not-dropped": "warn",
  "catalogue.batch-failed": "warn",
  "catalogue.lag-unnoted": "warn",
  "upload.abort-failed": "warn",
  "stray-uploads.aborted": "warn",
  "stray-uploads.swept": "warn",
  "stray-uploads.unlistable": "warn",
  "upload.unanswered": "warn",
  "retention.nomination-failed": "warn",
  "original.look-failed": "warn",
  "timer.job-failed": "error",
  "project-run.failed": "error",
  "project-run.unanswered": "warn",
  "egress.unwritten": "warn",
  "feed.unreachable": "warn",
  "feed.snapshot-failed": "warn",
  "token.denylist-unread": "error",
  "health.unreachable": "error",
  "alert.critical": "error",
  "request.failed": "error",
  "audit.outcome-unnoted": "warn",
  "delivery.tier-failed": "warn",
  "delivery.broken-off": "warn",
  "delivery.served": "info",
  "delivery.note-failed": "warn",
};
