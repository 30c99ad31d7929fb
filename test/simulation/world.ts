/**
 * The world around one asset: stores that hold what was really written, commands and facts on their way, runners. Every
 * party may be slow, silent, told twice or wrong; what it does is chosen by whoever drives the world.
 */
import { isCurrent, leaseRefusal, renditionOf, stepOf } from "../../durable-objects/machine/authority.ts";
import type { Effect, StorageEffect } from "../../durable-objects/machine/effect.ts";
import type { Timer } from "../../durable-objects/machine/timer.ts";
import type { Transition } from "../../durable-objects/machine/transition.ts";
import type { AssetEvent } from "../../schemas/event.ts";
import { originalKey, proxyKey } from "../../schemas/key.ts";
import type { Quality } from "../../schemas/ladder.ts";
import type { StepRef } from "../../schemas/step.ts";
import { TransferPlan } from "../../schemas/transfer.ts";
import { AssetRun } from "./asset-run.ts";
import { type Content, content, planOf, probe, upload } from "./asset-sample.ts";
import { type OpCommand, outageOf, stepOfCommand } from "./command-step.ts";

/** `crash`: it was done, and nobody was told. `vanish`: the message was lost before anybody saw it. */
export type Outcome = "succeed" | "begin" | "crash" | "vanish" | "outage" | "stumble" | "fail";

type Command = StorageEffect;

interface Stored extends Content {
  readonly etag: string;
}

interface OpenUpload {
  readonly quality: Quality;
  readonly content: Content;
}

export interface Runner {
  readonly id: string;
  lease: string | null;
  probed: boolean;
}

export class World {
  readonly run = new AssetRun();
  /** Sent and not yet taken. */
  readonly commands: Command[] = [];
  /** Said and not yet heard by the object. */
  readonly facts: AssetEvent[] = [];
  readonly wasabi = new Map<string, Stored>();
  readonly uploads = new Map<string, OpenUpload>();
  /** Uploads of objects that move in parts, and the parts that lie in them. */
  readonly transfers = new Map<string, Set<number>>();
  readonly edge = new Map<string, Content>();
  readonly editor = new Map<string, Content>();
  readonly runners: Runner[] = ["one", "two", "three"].map((id) => ({ id, lease: null, probed: false }));
  originalThere = true;
  projectPinned = false;
  /** Whatever may rightly end in `failed`: a fault that trying again need not fix. */
  faults = 0;
  /** Leases that ran out. */
  silences = 0;
  /** The runner that `flow` works with. */
  readonly healthy: Runner = { id: "healthy", lease: null, probed: false };
  readonly #height: number;
  readonly #parts: number;
  #originalCopied = false;
  #serial = 0;

  /** @param parts of whatever is copied; 0: one message moves it whole */
  constructor(height: number, parts = 0) {
    this.#height = height;
    this.#parts = parts;
    this.tell({ type: "UploadNoticed", upload });
  }

  /** The object hears a fact; what it asks for goes out. */
  tell(event: AssetEvent): Transition {
    const after = this.run.apply(event);
    if (event.type === "LeaseExpired" && after.verdict === "applied") this.silences += 1;
    for (const effect of after.effects) this.#send(effect);
    // As the worker's door does: an upload that was not recorded is aborted by whoever created it.
    if (event.type === "UploadOpened" && !this.#isRecorded(event.uploadId)) this.uploads.delete(event.uploadId);
    return after;
  }

  /** The clock reaches a deadline. */
  fire(timer: Timer): Transition {
    this.run.nowMs = Math.max(this.run.nowMs, timer.atMs);
    return this.tell(timer.event);
  }

  #isRecorded(uploadId: string): boolean {
    return this.run.asset.renditions.some((rendition) => rendition.upload?.uploadId === uploadId);
  }

  #send(effect: Effect): void {
    switch (effect.type) {
      case "PublishCatalogue":
      case "NotifyApp":
      case "EndLease":
      case "CountSourceRead":
        return;
      case "AbortUpload":
      case "AbortEdgeUpload":
        this.uploads.delete(effect.uploadId);
        this.transfers.delete(effect.uploadId);
        return;
      default:
        this.commands.push(effect);
    }
  }

  /** A consumer takes a command, unless its intent is no longer the present one. */
  take(index: number, outcome: Outcome): void {
    const [command] = this.commands.splice(index, 1);
    if (command === undefined || !("op" in command)) return;
    const step = stepOfCommand(command);
    if (!isCurrent(this.run.asset, step, command.op)) return;
    const { op } = command;
    switch (outcome) {
      case "vanish":
        return;
      case "begin":
        this.facts.push({ type: "StepBegan", step, op });
        return;
      case "outage":
        this.facts.push({ type: "StepDeferred", step, op, ...outageOf(command), retryAfterMs: null });
        return;
      case "stumble":
        this.faults += 1;
        this.#defer(step, op, "CHECKSUM_MISMATCH");
        return;
      case "fail":
        this.faults += 1;
        this.facts.push({ type: "StepFailed", step, op, code: "WASABI_FORBIDDEN", message: "The keys were refused." });
        return;
      case "crash":
        this.#act(command, step);
        return;
      case "succeed":
        this.facts.push(...this.#act(command, step));
        return;
    }
  }

  #defer(step: StepRef, op: number, code: "CHECKSUM_MISMATCH" | "ORIGINAL_MISSING"): void {
    this.facts.push({ type: "StepDeferred", step, op, code, message: "Not as it should be.", retryAfterMs: null });
  }

  #act(command: OpCommand, step: StepRef): AssetEvent[] {
    const stage = "stage" in command ? command.stage : null;
    if (this.#parts === 0 || stage === null) return this.#carryOut(command, step);
    const { op } = command;
    if (stage.type === "open") return this.#openTransfer(command, step);
    const there = this.transfers.get(stage.uploadId);
    if (stage.type === "parts") {
      const awaited = stepOf(this.run.asset, step)?.transfer;
      if (awaited?.uploadId !== stage.uploadId || there === undefined) return [];
      for (const n of stage.parts) there.add(n);
      const parts = stage.parts.map((n) => ({ n, sizeBytes: 1, etag: `part-${n}`, md5: null, sha256: null }));
      const midstate = stage.midstate === null ? null : "a".repeat(64);
      return [{ type: "PartsMoved", step, op, uploadId: stage.uploadId, parts, midstate }];
    }
    if (there?.size !== this.#parts && !this.#isCopied(command)) {
      const code = "UPLOAD_LOST";
      return [{ type: "StepDeferred", step, op, code, message: "Gone.", retryAfterMs: null, startOver: true }];
    }
    this.transfers.delete(stage.uploadId);
    return this.#carryOut(command, step);
  }

  /** An earlier completion has won. */
  #isCopied(command: OpCommand): boolean {
    switch (command.type) {
      case "PlaceEdgeCopy":
        return this.edge.has(command.key);
      case "RestoreArchive":
        return this.wasabi.has(command.key);
      case "ArchiveOriginal":
        return this.#originalCopied;
      default:
        return false;
    }
  }

  /** Its answer tells a consumer at once whether another has opened one before it. */
  #openTransfer(command: OpCommand, step: StepRef): AssetEvent[] {
    if (this.#isCopied(command)) return this.#carryOut(command, step);
    if (command.type === "ArchiveOriginal" && !this.originalThere) return this.#carryOut(command, step);
    this.#serial += 1;
    const uploadId = `transfer-${this.#serial}`;
    const plan = planOf(this.#serial, this.#parts, uploadId);
    this.transfers.set(uploadId, new Set());
    const { op } = command;
    const { asset } = this.run;
    const onEdge = command.type === "PlaceEdgeCopy";
    const key = command.type === "RestoreArchive" ? command.key : originalKey(asset);
    const target = onEdge ? { tier: "r2", key: command.key, ...plan } : { tier: "wasabi", key, ...plan };
    this.tell({ type: "TransferOpened", step, op, plan: TransferPlan.parse(target) });
    if (stepOf(this.run.asset, step)?.transfer?.uploadId !== uploadId) this.transfers.delete(uploadId);
    return [];
  }

  /** What a consumer really does, as idempotent as the real ones. @returns what it then says. */
  #carryOut(command: OpCommand, step: StepRef): AssetEvent[] {
    const { asset } = this.run;
    const { op } = command;
    const failed = (code: "UPLOAD_LOST" | "CHECKSUM_MISMATCH" | "ETAG_MISMATCH"): AssetEvent => ({
      type: "StepFailed",
      step,
      op,
      code,
      message: "It is not what was recorded.",
    });
    switch (command.type) {
      case "ArchiveOriginal":
      case "IngestOriginal":
        if (!this.originalThere) {
          this.faults += 1;
          const why = { code: "ORIGINAL_MISSING", message: "Not there.", retryAfterMs: null } as const;
          return [{ type: "StepDeferred", step, op, ...why }];
        }
        this.#originalCopied = true;
        return [
          {
            type: "OriginalArchived",
            op,
            key: originalKey(asset),
            sizeBytes: asset.sizeBytes,
            etag: "original",
            sha256: null,
          },
        ];
      case "CompleteUpload": {
        const { quality, jobId, uploadId, key } = command;
        const opened = this.uploads.get(uploadId);
        if (opened !== undefined) this.#store(key, opened.content);
        this.uploads.delete(uploadId);
        const stored = this.wasabi.get(key);
        if (stored?.sha256.composite !== command.sha256.composite) return [failed("UPLOAD_LOST")];
        return [{ type: "RenditionArchived", quality, jobId, op, etag: stored.etag, sizeBytes: stored.sizeBytes }];
      }
      case "RestoreArchive": {
        const { quality, jobId, key } = command;
        const source = this.edge.get(command.from);
        if (source?.sha256.composite !== command.sha256.composite) return [failed("CHECKSUM_MISMATCH")];
        const { etag, sizeBytes } = this.#store(key, source);
        return [{ type: "RenditionArchived", quality, jobId, op, etag, sizeBytes }];
      }
      case "PlaceEdgeCopy":
        return this.#place(this.edge, command, "r2", step);
      case "PlaceEditorCopy":
      case "CheckEditorCopy":
        return this.#place(this.editor, command, "lucidlink", step);
      case "RemoveEdgeCopy": {
        const { quality, jobId, archive } = command;
        if (archive !== null && this.wasabi.get(archive.key)?.etag !== archive.etag) {
          return [failed("ETAG_MISMATCH"), this.#lost(quality, jobId)];
        }
        const present = command.keepIfPinned && this.projectPinned ? this.edge.get(command.key) : undefined;
        const about = { tier: "r2", quality, jobId, op } as const;
        if (present !== undefined) return [{ type: "RemovalCalledOff", ...about, etag: null, ...present }];
        this.edge.delete(command.key);
        return [{ type: "CopyRemoved", ...about }];
      }
      case "RemoveEditorCopy":
        this.editor.delete(command.key);
        return [{ type: "CopyRemoved", tier: "lucidlink", quality: command.quality, jobId: command.jobId, op }];
    }
  }

  #place(
    store: Map<string, Content>,
    command: Extract<Command, { type: "PlaceEdgeCopy" | "PlaceEditorCopy" | "CheckEditorCopy" }>,
    tier: "r2" | "lucidlink",
    step: StepRef,
  ): AssetEvent[] {
    const { quality, jobId, op, source, key } = command;
    const archive = this.wasabi.get(source.key);
    if (archive?.etag !== source.etag) {
      const deferred: AssetEvent = {
        type: "StepDeferred",
        step,
        op,
        code: "ETAG_MISMATCH",
        message: "Wasabi has another object, or none.",
        retryAfterMs: null,
      };
      return [this.#lost(quality, jobId), deferred];
    }
    store.set(key, archive);
    const { sizeBytes, sha256 } = archive;
    return [{ type: "CopyPlaced", tier, quality, jobId, op, sizeBytes, etag: null, sha256 }];
  }

  #lost(quality: Quality, jobId: string): AssetEvent {
    return { type: "ArchiveLost", quality, jobId, message: "Wasabi has another object, or none." };
  }

  #store(key: string, { sizeBytes, sha256 }: Content): Stored {
    // As S3's own: the same parts, uploaded again, have the same ETag.
    const stored = { sizeBytes, sha256, etag: `etag-of-${sha256.composite}` };
    this.wasabi.set(key, stored);
    return stored;
  }

  /** Someone deletes a proxy from Wasabi behind our back, and the sweep sees it. */
  loseArchive(quality: Quality): void {
    const rendition = renditionOf(this.run.asset, quality);
    if (rendition?.state !== "archived") return;
    this.faults += 1;
    this.wasabi.delete(proxyKey(this.run.asset, quality));
    this.facts.push(this.#lost(quality, rendition.jobId));
  }

  /** Whatever is gone from Wasabi is seen again, also when the first word of it was lost. */
  #sweep(): void {
    for (const { quality, jobId, state } of this.run.asset.renditions) {
      const gone = state === "archived" && !this.wasabi.has(proxyKey(this.run.asset, quality));
      if (gone) this.facts.push(this.#lost(quality, jobId));
    }
  }

  /** The runner's next act: claims, probes, or uploads its next rendition. @returns false when it has nothing to do. */
  work(runner: Runner): boolean {
    const { asset } = this.run;
    if (runner.lease === null) return this.#claim(runner);
    const { lease } = runner;
    if (asset.job.jobId === null || leaseRefusal(asset, asset.job.jobId, lease) !== null) {
      runner.lease = null;
      return true;
    }
    if (!runner.probed) {
      runner.probed = true;
      this.tell({ type: "SourceProbed", lease, source: probe(this.#height) });
      return true;
    }
    const next = asset.renditions.find(({ state }) => state === "encoding");
    if (next === undefined) return false;
    if (next.upload === null) this.#openUpload(lease, next.quality);
    else this.#finishUpload(lease, next.quality, next.upload.uploadId);
    return true;
  }

  #claim(runner: Runner): boolean {
    const index = this.commands.findIndex(({ type }) => type === "EnqueueTranscode");
    const [message] = index < 0 ? [] : this.commands.splice(index, 1);
    if (message?.type !== "EnqueueTranscode") return false;
    const { generation } = message;
    const claimed = this.tell({ type: "TranscodeClaimed", generation, runnerId: runner.id, encoder: "libx264" });
    if (claimed.verdict === "applied") {
      runner.lease = this.run.asset.job.lease?.token ?? null;
      runner.probed = false;
    }
    return true;
  }

  #openUpload(lease: string, quality: Quality): void {
    this.#serial += 1;
    const uploadId = `upload-${this.#serial}`;
    this.uploads.set(uploadId, { quality, content: content(this.#serial) });
    const key = proxyKey(this.run.asset, quality);
    this.tell({ type: "UploadOpened", lease, quality, key, uploadId, partSizeBytes: 8 * 1024 * 1024 });
  }

  #finishUpload(lease: string, quality: Quality, uploadId: string): void {
    const opened = this.uploads.get(uploadId);
    if (opened === undefined) throw new Error(`broken: upload ${uploadId} is recorded but was aborted`);
    const made = { width: 640, height: 360, frames: 500, durationSeconds: 20, ...opened.content };
    this.facts.push({ type: "RenditionUploaded", lease, quality, ...made });
  }

  /** The object hears the fact; it may be told again later. */
  hear(index: number, again = false): void {
    const [fact] = again ? this.facts.slice(index, index + 1) : this.facts.splice(index, 1);
    if (fact !== undefined) this.tell(fact);
  }

  /** From now on all is well: runs until nothing is left to do. @throws Error when it does not come to rest. */
  settle(): void {
    this.originalThere = true;
    for (const runner of this.runners) runner.lease = null;
    this.#sweep();
    for (let turn = 0; turn < 1_000; turn += 1) {
      if (this.flow()) continue;
      const timer = this.run.nextTimer();
      if (timer === null) return;
      const { verdict } = this.fire(timer);
      if (verdict !== "applied") throw new Error(`broken: the timer ${timer.name} fired in vain and stays armed`);
    }
    throw new Error(`broken: still ${this.run.status} after a thousand acts in a healthy world`);
  }

  /** One act of a world in which all is well. @returns false when only a deadline can move it on. */
  flow(): boolean {
    if (this.facts.length > 0) {
      this.hear(0);
      return true;
    }
    const index = this.commands.findIndex(({ type }) => type !== "EnqueueTranscode");
    if (index < 0) return this.work(this.healthy);
    this.take(index, "succeed");
    return true;
  }
}
