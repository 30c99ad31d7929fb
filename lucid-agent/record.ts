/**
 * What the agent remembers of a transfer, and the pure decisions about it: what a PUT means for what is known, and what
 * the worker must be told. The source's URL lives apart, in `TransferWork`, until the transfer ends.
 */
import { createHash } from "node:crypto";
import { z } from "zod";
import {
  AgentCallback,
  type AgentCallbackType,
  AgentProblem,
  PlaceCallback,
  PlaceRequest,
  type Transfer,
  TransferId,
  TransferStatus,
} from "../schemas/agent-protocol.ts";
import { Sha256Hex } from "../schemas/checksum.ts";
import { SizeBytes } from "../schemas/id.ts";
import { EditorKey } from "../schemas/key.ts";

const AtMs = z.int().nonnegative();

/** A callback that has not been accepted yet. `id` is its webhook-id, the same at every try. */
export const PendingCallback = z.object({
  id: z.string(),
  url: PlaceCallback.shape.url,
  body: AgentCallback,
  tries: z.int().nonnegative(),
  nextAtMs: AtMs,
});
export type PendingCallback = z.infer<typeof PendingCallback>;

export const TransferRecord = z.object({
  id: TransferId,
  key: EditorKey,
  status: TransferStatus,
  bytesWritten: SizeBytes,
  sizeBytes: SizeBytes,
  sha256: Sha256Hex,
  problem: AgentProblem.nullable(),
  updatedAtMs: AtMs,
  callback: PlaceCallback,
  /** SHA-256 of what a transfer's requests must agree on. */
  identity: Sha256Hex,
  /** SHA-256 of the newest request whole. */
  request: Sha256Hex,
  pending: PendingCallback.nullable(),
  /** Raised at every callback, to tell their ids apart. */
  callbacks: z.int().nonnegative(),
});
export type TransferRecord = z.infer<typeof TransferRecord>;

export const TransferWork = z.object({ source: PlaceRequest.shape.source, sha256: PlaceRequest.shape.sha256 });
export type TransferWork = z.infer<typeof TransferWork>;

function digest(value: unknown): string {
  return createHash("sha256").update(JSON.stringify(value)).digest("hex");
}

export function recordOf(id: TransferId, place: PlaceRequest, nowMs: number): TransferRecord {
  const { key, source, sizeBytes, sha256, callback } = place;
  return {
    id,
    key,
    status: "queued",
    bytesWritten: 0,
    sizeBytes,
    sha256: sha256.composite,
    problem: null,
    updatedAtMs: nowMs,
    callback,
    identity: digest([key, source.etag ?? null, sizeBytes, sha256, callback.fileId, callback.quality]),
    request: digest(place),
    pending: null,
    callbacks: 0,
  };
}

export function isActive(record: TransferRecord): boolean {
  return record.status === "queued" || record.status === "copying" || record.status === "uploading";
}

/**
 * - `answer`: nothing new · `refresh`: the transfer under way takes the new URL and fencing number · `start`: run it
 * - `conflict`: refused, nothing changes
 */
export type PutDecision =
  | { kind: "answer" }
  | { kind: "refresh" }
  | { kind: "start" }
  | { kind: "conflict"; detail: string };

/**
 * @param known what is remembered under the same id
 * @param holder what is remembered for the same key, under whatever id
 * @param present whether the file still lies at the key with the size recorded
 */
export function decidePut(
  asked: TransferRecord,
  known: TransferRecord | null,
  holder: TransferRecord | null,
  present: boolean,
): PutDecision {
  const newestOp = Math.max(known?.callback.op ?? 0, holder?.callback.op ?? 0);
  if (known !== null && known.identity !== asked.identity) {
    return { kind: "conflict", detail: "This transfer id belongs to another file, size or checksum." };
  }
  if (asked.callback.op < newestOp) {
    return { kind: "conflict", detail: `A newer operation (${newestOp}) holds this key.` };
  }
  if (known === null) return { kind: "start" };
  if (isActive(known)) return known.request === asked.request ? { kind: "answer" } : { kind: "refresh" };
  if (known.status === "durable") {
    return present && known.callback.op === asked.callback.op ? { kind: "answer" } : { kind: "start" };
  }
  return known.request === asked.request ? { kind: "answer" } : { kind: "start" };
}

export function transferOf(record: TransferRecord): Transfer {
  const { id, key, status, bytesWritten, sizeBytes, sha256, problem } = record;
  return {
    id,
    key,
    status,
    bytesWritten,
    sizeBytes,
    sha256,
    op: record.callback.op,
    problem,
    updatedAt: new Date(record.updatedAtMs).toISOString(),
  };
}

/** The record at its end, with the callback that tells of it. */
export function ended(record: TransferRecord, problem: AgentProblem | null, nowMs: number): TransferRecord {
  const status = problem === null ? "durable" : "failed";
  const type: AgentCallbackType =
    problem === null
      ? "transfer.durable"
      : problem.code === "SOURCE_EXPIRED"
        ? "transfer.source-expired"
        : "transfer.failed";
  const { url, fileId, quality, op, commandId } = record.callback;
  const { id: transferId, key, sizeBytes, sha256 } = record;
  const callbacks = record.callbacks + 1;
  const body: AgentCallback = {
    type,
    timestamp: new Date(nowMs).toISOString(),
    data: { transferId, fileId, quality, op, commandId, key, sizeBytes, sha256, problem },
  };
  const pending = { id: `agent_${transferId}_${nowMs}_${callbacks}`, url, body, tries: 0, nextAtMs: nowMs };
  return { ...record, status, problem, updatedAtMs: nowMs, callbacks, pending };
}

/** A dot-name beside the target, named by its content, so that whoever places the same bytes goes on with it. */
export function temporaryName(fileName: string, composite: string): string {
  return `.${fileName}.${composite.slice(0, 16)}.part`;
}

export function temporaryPath(record: Pick<TransferRecord, "key" | "sha256">): string {
  const cut = record.key.lastIndexOf("/") + 1;
  return record.key.slice(0, cut) + temporaryName(record.key.slice(cut), record.sha256);
}

export const temporaryNamePattern = /^\..+\.mp4\.[0-9a-f]{16}\.part$/;
