/**
 * The Asset object: one per file, the only place that decides about it. A shell around the pure machine: it loads, lets
 * `transition` decide, writes state, outbox, history and timers in one synchronous block, then carries out and tells.
 */
import { DurableObject } from "cloudflare:workers";
import type { SingleFrame } from "../schemas/api.ts";
import type { Asset, HistoryEntry, Progress } from "../schemas/asset.ts";
import type { PartDigest } from "../schemas/checksum.ts";
import { Command } from "../schemas/command.ts";
import { EventEnvelope } from "../schemas/event.ts";
import type { Evidence } from "../schemas/evidence.ts";
import { proxyKey } from "../schemas/key.ts";
import type { Quality } from "../schemas/ladder.ts";
import type { TermsByQuality } from "../schemas/retention.ts";
import { type StepRef, stepName } from "../schemas/step.ts";
import type { MovedPart, TransferPlan } from "../schemas/transfer.ts";
import type { Why } from "../schemas/why.ts";
import { log } from "../workers/log.ts";
import { decisionNowMs, realMs } from "../workers/stores/clock.ts";
import { type Env, readConfig } from "../workers/stores/config.ts";
import { sendCommand } from "../workers/stores/queues.ts";
import type {
  ApplyResult,
  AssetDoor,
  BeginAnswer,
  ClaimAnswer,
  OpenAnswer,
  OpVerb,
  PartAnswer,
  PartsAnswer,
  PartsHold,
  ProxyLocation,
} from "./asset-door.ts";
import { AssetSockets } from "./asset-sockets.ts";
import { AssetStore } from "./asset-store.ts";
import { isProven } from "./command-proof.ts";
import { type Decision, decide, requeue } from "./decision.ts";
import { feedsOf } from "./feed-door.ts";
import { isCurrent, leaseRefusal, renditionOf, stepOf, verbOf } from "./machine/authority.ts";
import { transfersOf } from "./machine/transfer.ts";
import { viewAsset } from "./machine/view.ts";
import { explain } from "./machine/why.ts";
import { excludes } from "./operation.ts";
import { Outbox } from "./outbox.ts";
import { proxyLocation } from "./proxy-location.ts";
import { hexId } from "./random-id.ts";
import { answerRunner, type RunnerPorts } from "./runner-session.ts";
import { grantSource } from "./source-grant.ts";
import { feedThrottle, sendFrame, type Throttle, watcherThrottle } from "./status-socket.ts";
import { elapseTimers } from "./timer-run.ts";
import { beginParts, openTransfer, type TransferPorts } from "./transfer-session.ts";

const seenForMs = 14 * 24 * 3600 * 1000;

export class AssetObject extends DurableObject<Env> implements AssetDoor {
  readonly #store: AssetStore;
  readonly #sockets: AssetSockets;
  readonly #outbox: Outbox;
  readonly #progressThrottle: Throttle<SingleFrame>;
  readonly #feedThrottle: Throttle<SingleFrame>;
  #progress: Progress | null = null;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#store = new AssetStore(ctx.storage.sql);
    this.#sockets = new AssetSockets(ctx, env);
    this.#outbox = new Outbox({
      store: this.#store,
      fileId: () => this.#present().state.fileId,
      view: () => this.#view(),
      send: (command) => sendCommand(env, command),
      nowMs: () => decisionNowMs(env),
      random: Math.random,
      newSecret: () => hexId(32),
      onFault: (fault, row) => log({ event: "command.unsent", commandId: row.id, type: row.type }, fault),
    });
    this.#progressThrottle = watcherThrottle((frame) => this.#sockets.tellWatchers(frame));
    this.#feedThrottle = feedThrottle((frame) => this.#tellFeeds(frame));
  }

  async apply(envelope: EventEnvelope): Promise<ApplyResult> {
    const parsed = EventEnvelope.safeParse(envelope);
    if (!parsed.success) return this.#refuse(parsed.error.issues);
    return this.#commit(parsed.data);
  }

  async view(): Promise<Asset | null> {
    return this.#view();
  }

  async history(beforeRevision: number | null, limit: number): Promise<HistoryEntry[]> {
    return this.#isThere() ? this.#store.history(beforeRevision, limit) : [];
  }

  async evidence(): Promise<Evidence[]> {
    return this.#isThere() ? this.#store.evidence() : [];
  }

  async why(terms: TermsByQuality): Promise<Why[]> {
    const present = this.#store.load();
    return present === null ? [] : explain(present.state, terms, this.#nowMs());
  }

  async begin(step: StepRef, op: number): Promise<BeginAnswer> {
    const present = this.#store.load();
    if (present === null) return { go: false, reason: "There is no such asset." };
    if (!isCurrent(present.state, step, op)) return { go: false, reason: "The command is no longer wanted." };
    this.#commit({ key: null, by: "consumer", event: { type: "StepBegan", step, op } });
    return { go: true };
  }

  async claim(step: StepRef, op: number, verb: OpVerb, holder: string): Promise<ClaimAnswer> {
    const present = this.#store.load();
    const wanted = present !== null && isCurrent(present.state, step, op) && verbOf(present.state, step) === verb;
    if (!wanted) return { granted: false, reason: "stale" };
    const atMs = this.#nowMs();
    const key = stepName(step);
    const held = this.#store.opTokens(key, atMs).find((token) => excludes(token, { op, verb }));
    if (held !== undefined) return { granted: false, reason: "busy", retryAfterMs: held.untilMs - atMs };
    const untilMs = atMs + this.#policy().opTokenMs;
    this.#store.grantOpToken({ key, holder, op, verb, untilMs });
    return { granted: true, untilMs };
  }

  async openTransfer(step: StepRef, op: number, plan: TransferPlan): Promise<OpenAnswer> {
    return openTransfer(step, op, plan, this.#transferPorts(step, op));
  }

  async beginParts(step: StepRef, op: number, hold: PartsHold): Promise<PartsAnswer> {
    return beginParts(step, op, hold, this.#transferPorts(step, op));
  }

  async movedParts(uploadId: string): Promise<MovedPart[]> {
    return this.#isThere() ? this.#store.transfers.moved(uploadId) : [];
  }

  async uploadedParts(uploadId: string): Promise<PartDigest[]> {
    return this.#isThere() ? this.#store.transfers.parts(uploadId) : [];
  }

  async partDigests(quality: Quality, jobId: string, range?: { first: number; last: number }): Promise<PartDigest[]> {
    return this.#isThere() ? this.#store.transfers.partsOfRendition(quality, jobId, range) : [];
  }

  async openPart(jobId: string, lease: string, quality: Quality): Promise<PartAnswer> {
    const present = this.#store.load();
    if (present === null) return { ok: false, reason: "unknown", message: "There is no such asset." };
    const { state } = present;
    const refusal = leaseRefusal(state, jobId, lease);
    if (refusal !== null) return { ok: false, ...refusal };
    const rendition = renditionOf(state, quality);
    if (rendition?.state !== "encoding") {
      return { ok: false, reason: "stale", message: `${quality} is not being encoded.` };
    }
    return { ok: true, key: proxyKey(state, quality), uploadId: rendition.upload?.uploadId ?? null };
  }

  async recordUpload(
    jobId: string,
    lease: string,
    quality: Quality,
    upload: { uploadId: string; partSizeBytes: number },
  ): Promise<PartAnswer> {
    const open = await this.openPart(jobId, lease, quality);
    if (!open.ok || open.uploadId !== null) return open;
    const { key } = open;
    // The upload belongs to the rendition, whose job id is newer than the job's once it had to be encoded again.
    const renditionJobId = renditionOf(this.#present().state, quality)?.jobId ?? jobId;
    this.#commit({ key: null, by: "api", event: { type: "UploadOpened", lease, quality, key, ...upload } }, () =>
      this.#store.transfers.record({ ...upload, quality, jobId: renditionJobId, key, atMs: this.#nowMs() }),
    );
    return this.openPart(jobId, lease, quality);
  }

  async holdsUpload(uploadId: string): Promise<boolean> {
    const state = this.#store.load()?.state;
    if (state === undefined) return false;
    const known = [...transfersOf(state), ...state.renditions.map(({ upload }) => upload)];
    return this.#store.transfers.has(uploadId) || known.some((upload) => upload?.uploadId === uploadId);
  }

  async leasedOriginal(jobId: string, lease: string): ReturnType<AssetDoor["leasedOriginal"]> {
    const present = this.#store.load();
    if (present === null) return { ok: false, reason: "unknown", message: "There is no such asset." };
    const refusal = leaseRefusal(present.state, jobId, lease);
    if (refusal !== null) return { ok: false, ...refusal };
    const { original } = present.state;
    if (original === null) return { ok: false, reason: "not-ready", message: "The original is not there." };
    return { ok: true, key: original.key, sizeBytes: original.sizeBytes, etag: original.etag };
  }

  async locateProxy(quality: Quality, jobId: string): Promise<ProxyLocation> {
    return proxyLocation(this.#store.load()?.state, quality, jobId);
  }

  async confirm(message: unknown): Promise<boolean> {
    const secret = this.#store.load() === null ? null : this.#store.commandSecret();
    return secret !== null && isProven(message, secret);
  }

  async resend(message: unknown): Promise<boolean> {
    const command = Command.safeParse(message).data;
    const present = this.#store.load();
    if (command === undefined || present === null) return false;
    // The catalogue gets the present document, whoever asks.
    if (command.type !== "PublishCatalogue" && !(await this.confirm(message))) return false;
    requeue(command, present, this.#store, this.#nowMs());
    this.#wake();
    return true;
  }

  /** WebSocket upgrades. */
  override async fetch(request: Request): Promise<Response> {
    if (request.headers.get("Upgrade")?.toLowerCase() !== "websocket") return new Response(null, { status: 426 });
    const answer = this.#sockets.accept(request, this.#view());
    // An alarm creates a database: no asset, no alarm. The first frame says that there is no such asset.
    if (this.#store.isMade) await this.#armAlarm();
    return answer;
  }

  override async webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): Promise<void> {
    const jobId = await this.#sockets.speakingRunner(socket);
    if (jobId === null) return;
    const text = typeof message === "string" ? message : new TextDecoder().decode(message);
    const answer = await answerRunner(text, jobId, this.#runnerPorts());
    if (answer === null) {
      socket.close(1007, "That is no frame of the runner protocol.");
      return;
    }
    sendFrame(socket, answer);
  }

  override async webSocketClose(socket: WebSocket): Promise<void> {
    socket.close();
  }

  override async alarm(): Promise<void> {
    try {
      // Not `isThere`: of what a newer version stored nothing can be loaded, and its alarm must not spin for that.
      if (this.#store.isMade) {
        const commit = (envelope: EventEnvelope) => this.#commit(envelope);
        elapseTimers(this.#nowMs(), {
          store: this.#store,
          fileId: this.ctx.id.name ?? null,
          commit,
          random: Math.random,
        });
        this.#store.pruneSeen(this.#nowMs() - seenForMs);
        await this.#outbox.drain();
      }
      await this.#sockets.closeEnded();
    } finally {
      await this.#armAlarm();
    }
  }

  /** @param alongside what is stored with the decision, or not at all */
  #commit(envelope: EventEnvelope, alongside: () => void = () => undefined): ApplyResult {
    const decision = decide(envelope, {
      store: this.#store,
      transaction: (work) =>
        this.ctx.storage.transactionSync(() => {
          alongside();
          return work();
        }),
      policy: () => this.#policy(),
      progress: () => this.#progress,
      stamp: () => ({ atMs: this.#nowMs(), newId: hexId(12), token: hexId(16), jitter: Math.random() }),
    });
    if (this.#isThere()) this.#wake();
    if (decision.verdict === "applied") this.#tellChange(decision);
    return this.#result(decision);
  }

  #tellChange({ effects, quiet }: Decision): void {
    for (const effect of effects) {
      if (effect.type !== "EndLease") continue;
      const { reason, message } = effect;
      this.#sockets.tellRunner({ type: "cancel", reason, message });
    }
    if (quiet) return;
    if (this.#present().state.job.lease === null) this.#progress = null;
    this.#progressThrottle.flush();
    this.#feedThrottle.flush();
    const asset = this.#view();
    if (asset === null) return;
    this.#sockets.tellWatchers({ type: "asset", asset });
    this.#tellFeeds({ type: "asset", asset });
  }

  /** The feeds of those who watch many assets. */
  #tellFeeds(frame: SingleFrame): void {
    const { clientName, projectName } = this.#present().state;
    for (const feed of feedsOf(this.env.FEED, clientName)) {
      this.ctx.waitUntil(
        feed.publish(clientName, projectName, frame).catch((fault: unknown) => {
          log({ event: "feed.unreachable", clientName }, fault);
        }),
      );
    }
  }

  #transferPorts(step: StepRef, op: number): TransferPorts {
    return {
      store: this.#store.transfers,
      step: () => {
        const state = this.#store.load()?.state;
        return state !== undefined && isCurrent(state, step, op) ? stepOf(state, step) : null;
      },
      commit: (envelope) => this.#commit(envelope),
      nowMs: () => this.#nowMs(),
      holdMs: this.#policy().silentWatchdogMs,
    };
  }

  #runnerPorts(): RunnerPorts {
    const { wasabi, policy } = readConfig(this.env);
    return {
      policy,
      state: () => this.#store.load()?.state ?? null,
      commit: (envelope) => this.#commit(envelope),
      commitUploaded: (envelope, uploadId, parts) =>
        this.#commit(envelope, () => this.#store.transfers.recordParts(uploadId, parts)),
      grantSource: (original) => grantSource(wasabi, original, Date.now()),
      progressed: (progress, renditions) => {
        this.#progress = progress;
        const { fileId, job } = this.#present().state;
        const { percent, fps, speed, etaSeconds } = progress;
        const jobId = job.jobId ?? "";
        const frame = { type: "progress", fileId, jobId, percent, renditions, fps, speed, etaSeconds } as const;
        this.#progressThrottle.offer(frame);
        this.#feedThrottle.offer(frame);
      },
    };
  }

  /**
   * In the very turn of a change, so that the alarm is stored with it: neither a send that hangs, nor an object that dies,
   * nor a socket that is gone before its answer can leave a deadline unwatched.
   */
  #wake(): void {
    this.ctx.waitUntil(this.#armAlarm());
    this.ctx.waitUntil(this.#outbox.drain().then(() => this.#armAlarm()));
  }

  async #armAlarm(): Promise<void> {
    const nextMs = this.#store.nextAtMs();
    const moments = [nextMs === null ? null : realMs(this.env, nextMs), this.#sockets.nextLookAtMs()];
    const [next] = moments.filter((moment) => moment !== null).sort((a, b) => a - b);
    if (next === undefined) await this.ctx.storage.deleteAlarm();
    else await this.ctx.storage.setAlarm(next);
  }

  #nowMs(): number {
    return decisionNowMs(this.env);
  }

  #policy() {
    return readConfig(this.env).policy;
  }

  #isThere(): boolean {
    return this.#store.load() !== null;
  }

  #present() {
    const present = this.#store.load();
    if (present === null) throw new Error("there is no asset yet");
    return present;
  }

  #view(): Asset | null {
    const present = this.#store.load();
    return present && viewAsset(present.state, present.revision, this.#policy(), this.#progress);
  }

  #refuse(issues: readonly { path: PropertyKey[]; message: string }[]): ApplyResult {
    const errors = issues.map(({ path, message }) => ({ path: path.join("."), message }));
    return { outcome: "rejected", asset: this.#view(), created: false, reason: "That is no event.", errors };
  }

  #result({ verdict, errors, created }: Decision): ApplyResult {
    const reason = verdict === "applied" ? null : `The event was ${verdict}.`;
    return { outcome: verdict, asset: this.#view(), created: created && verdict === "applied", reason, errors };
  }
}
