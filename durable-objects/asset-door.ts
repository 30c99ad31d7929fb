/**
 * The Asset object's door, as the rest of the worker sees it: every method is an RPC to the one object of a file.
 * Times out with the request that calls it; each answer is small and plain data.
 */
import type { Asset, HistoryEntry } from "../schemas/asset.ts";
import type { PartDigest } from "../schemas/checksum.ts";
import type { EventEnvelope } from "../schemas/event.ts";
import type { Evidence } from "../schemas/evidence.ts";
import type { EdgeKey, OriginalKey, ProxyKey } from "../schemas/key.ts";
import type { Quality } from "../schemas/ladder.ts";
import type { RetentionTerms } from "../schemas/retention.ts";
import type { RunnerRefusal } from "../schemas/runner-protocol.ts";
import type { StepRef } from "../schemas/step.ts";
import type { MovedPart, TransferPlan } from "../schemas/transfer.ts";
import type { Why } from "../schemas/why.ts";

/**
 * `applied`: state changed · `duplicate`: this key was seen before · `ignored`: late, changes nothing · `rejected`: a
 * fact that contradicts the state, logged as a bug · `conflict`: an upload that differs from the known one, fields named
 * · `unknown`: there is no such asset and the event cannot make one.
 */
export interface ApplyResult {
  outcome: "applied" | "duplicate" | "ignored" | "rejected" | "conflict" | "unknown";
  asset: Asset | null;
  /** True when this very event created the asset. */
  created: boolean;
  reason: string | null;
  errors: { path: string; message: string }[];
}

/** `go: false` means that the command is no longer wanted: the consumer acks and does nothing. */
export type BeginAnswer = { go: true } | { go: false; reason: string };

/** The upload that the parts go to: another that was recorded first wins, and whoever opened this one aborts it. */
export type OpenAnswer = { go: true; uploadId: string } | { go: false; reason: string };

/** One message's parts, and the delivery that moves them: nobody else does while it gives signs of life. */
export interface PartsHold {
  uploadId: string;
  parts: readonly number[];
  holder: string;
}

/** `parts`: those that are still to be moved. */
export type PartsAnswer = { go: true; parts: number[] } | { go: false; reason: string };

/** `busy`: an operation of another kind holds the key until it reports or its token ends. */
export type ClaimAnswer =
  | { granted: true; untilMs: number }
  | { granted: false; reason: "stale" }
  | { granted: false; reason: "busy"; retryAfterMs: number };

export type OpVerb = "complete" | "place" | "remove";

export type PartAnswer =
  | { ok: true; key: ProxyKey; uploadId: string | null }
  | { ok: false; reason: RunnerRefusal; message: string };

/** What delivery needs to know of one rendition of one job; also when the job has been superseded. */
export type ProxyLocation =
  | { found: false; superseded: boolean }
  | {
      found: true;
      edgeKey: EdgeKey;
      archive: { key: ProxyKey; etag: string; sizeBytes: number } | null;
      sizeBytes: number;
      edgePlaced: boolean;
      fileName: string;
    };

export interface AssetDoor {
  apply(envelope: EventEnvelope): Promise<ApplyResult>;
  view(): Promise<Asset | null>;
  history(beforeRevision: number | null, limit: number): Promise<HistoryEntry[]>;
  /** Of every object that is there. */
  evidence(): Promise<Evidence[]>;
  /** Each copy explained, under the terms of retention that hold now. */
  why(terms: Readonly<Record<Quality, RetentionTerms>>): Promise<Why[]>;

  /**
   * Whether this queue message, as it was delivered, is a command that this object sent. Everything else that reads
   * like one is nobody's order. Creates nothing.
   */
  confirm(message: unknown): Promise<boolean>;
  /** Sends a command of its own once more, through its outbox. @returns false for a message that it never sent */
  resend(message: unknown): Promise<boolean>;

  /** A consumer says that it begins, and again at least every `silentWatchdogMs / 3` while it works. */
  begin(step: StepRef, op: number): Promise<BeginAnswer>;
  /**
   * Just before anything destructive or visible (complete, replace, delete). Freed by the holder's own report, not by
   * another delivery of the same command: that one may still act.
   */
  claim(step: StepRef, op: number, verb: OpVerb, holder: string): Promise<ClaimAnswer>;
  /** Records an upload that a consumer has opened, before its first part. */
  openTransfer(step: StepRef, op: number, plan: TransferPlan): Promise<OpenAnswer>;
  /** As `begin`, for some parts of a transfer. */
  beginParts(step: StepRef, op: number, hold: PartsHold): Promise<PartsAnswer>;
  /** The parts of a transfer that lie in its upload, in order. */
  movedParts(uploadId: string): Promise<MovedPart[]>;

  /** The parts of a rendition's upload, in order, as its runner reported them. */
  uploadedParts(uploadId: string): Promise<PartDigest[]>;
  /**
   * Composite-checksum parts of an archived rendition, so that a copy can be checked part by part.
   * @param range first and last part wanted, from 1; all of them when it is not given
   */
  partDigests(quality: Quality, jobId: string, range?: { first: number; last: number }): Promise<PartDigest[]>;

  /** The runner asks for part URLs: checks the lease, tells the upload already recorded, if any. */
  openPart(jobId: string, lease: string, quality: Quality): Promise<PartAnswer>;
  /** Records a created upload before its first part. Another recorded first wins: its id comes back, abort yours. */
  recordUpload(
    jobId: string,
    lease: string,
    quality: Quality,
    upload: { uploadId: string; partSizeBytes: number },
  ): Promise<PartAnswer>;
  /** Whether this multipart upload is one of the asset's own, so that nobody else may abort it. */
  holdsUpload(uploadId: string): Promise<boolean>;
  /** The original that a leased job reads. */
  leasedOriginal(
    jobId: string,
    lease: string,
  ): Promise<
    | { ok: true; key: OriginalKey; sizeBytes: number; etag: string }
    | { ok: false; reason: RunnerRefusal; message: string }
  >;
  /** One rendition of one job, for signing and for serving misses. */
  locateProxy(quality: Quality, jobId: string): Promise<ProxyLocation>;

  /** WebSocket upgrades: status sockets and the runner's (told apart by the path). */
  fetch(request: Request): Promise<Response>;
}

/** The door of one file's object. */
export function assetDoor(namespace: DurableObjectNamespace, fileId: string): AssetDoor {
  // The RPC stub's derived types lose key brands; the interface above is what the object implements.
  return namespace.getByName(fileId) as unknown as AssetDoor;
}
