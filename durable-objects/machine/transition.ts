/**
 * The Asset object's whole decision: `transition(state, event)` → the next state and the effects to carry out. Routes an
 * event to the machine it concerns, then settles what that change means to the other machines. Pure and synchronous: time
 * and randomness ride in the stamp.
 */
import type { StoredAsset, StoredCopy, StoredRendition } from "../../schemas/asset-state.ts";
import type { AssetEvent, EventOf, UploadDeclaration } from "../../schemas/event.ts";
import { longOutageMs } from "../../schemas/failure-policy.ts";
import type { Quality } from "../../schemas/ladder.ts";
import type { SourceProbe } from "../../schemas/media-probe.ts";
import { planLadder } from "../../schemas/plan-ladder.ts";
import { startArchive } from "./archive-rule.ts";
import { assetStatus, phaseToAnnounce } from "./asset-status.ts";
import { copyTable } from "./copy-table.ts";
import type { Effect } from "./effect.ts";
import { jobTable } from "./job-table.ts";
import { copyOn, mayPlace, newCopy, wantedTiers } from "./placement.ts";
import { renditionTable } from "./rendition-table.ts";
import { type Context, type Draft, follow, type Verdict } from "./rule.ts";
import { countReads } from "./source-read.ts";
import { idleStep } from "./step-clock.ts";
import type { CopyEvent, JobEvent, RenditionEvent } from "./subject.ts";
import { abortsOf } from "./transfer.ts";

export interface Transition {
  state: StoredAsset | null;
  effects: Effect[];
  verdict: Verdict | "conflict" | "unknown";
  /** Fields of an upload that contradict the known asset. */
  errors: { path: string; message: string }[];
}

/** Signs of life: they move deadlines, are not worth a revision, and nobody needs to be told. */
export function isQuiet(event: AssetEvent): boolean {
  return event.type === "LeaseRenewed" || event.type === "StepBegan";
}

const rounds: ReadonlySet<AssetEvent["type"]> = new Set(["StepDeferred", "StepDue", "StepOverdue", "PartsMoved"]);

/** What may come by the thousand: the rounds of trying again while an outage lasts, the parts of a large original. */
export function isRound({ type }: AssetEvent): boolean {
  return rounds.has(type);
}

export function transition(state: StoredAsset | null, event: AssetEvent, context: Context): Transition {
  const unchanged = (verdict: Transition["verdict"], errors: Transition["errors"] = []): Transition => ({
    state,
    effects: [],
    verdict,
    errors,
  });
  if (event.type === "UploadNoticed") {
    const errors = state === null ? [] : contradictions(state, event.upload);
    if (errors.length > 0) return unchanged("conflict", errors);
  }
  if (state === null) {
    return event.type === "UploadNoticed" ? create(event.upload, context) : unchanged("unknown");
  }
  const draft: Draft = { asset: structuredClone(state), effects: [], ...context };
  const verdict = route(draft, event);
  if (verdict !== "applied") return unchanged(verdict);
  conclude(draft, state, event);
  return { state: draft.asset, effects: draft.effects, verdict, errors: [] };
}

function conclude(draft: Draft, before: StoredAsset | null, event: AssetEvent): void {
  const statesBefore = before === null ? null : { status: assetStatus(before), job: before.job.state };
  settle(draft, statesBefore?.job ?? null);
  const { asset, effects, stamp } = draft;
  effects.push(...countReads(before, asset, event, stamp.atMs));
  if (isQuiet(event)) return;
  effects.push(...abortsOf(before, asset, event));
  asset.updatedAtMs = stamp.atMs;
  if (asset.original !== null && (before?.original ?? null) === null) tell(draft, "asset.archived");
  const wasEncoded = statesBefore?.job === "encoded" || before?.job.stateBeforeDelete === "encoded";
  if (asset.job.state === "encoded" && !wasEncoded) tell(draft, "asset.encoded");
  const phase = phaseToAnnounce(statesBefore?.status ?? null, assetStatus(asset), asset.announced);
  if (phase !== null) tell(draft, phase);
  if (before === null || !isMoreOfTheSame(before, asset, event)) effects.push({ type: "PublishCatalogue" });
}

/** An outage's hundredth deferral tells the catalogue nothing that it does not know, save that it has become a long one. */
function isMoreOfTheSame(before: StoredAsset, after: StoredAsset, event: AssetEvent): boolean {
  if (!isRound(event)) return false;
  const told = (asset: StoredAsset) => JSON.stringify([assetStatus(asset), asset.job.generation, ...problemsOf(asset)]);
  return told(before) === told(after);
}

function problemsOf({ job, renditions, updatedAtMs }: StoredAsset): unknown[] {
  const steps = [job.archive, job.transcode, ...renditions.map(({ step }) => step)];
  for (const { copies } of renditions) steps.push(...copies.map(({ step }) => step));
  return [
    steps.map(({ problem }) => problem && [problem.code, updatedAtMs - problem.sinceAtMs >= longOutageMs]),
    renditions.map(({ copies }) => copies.map(({ state }) => state)),
  ];
}

function tell({ asset, effects }: Draft, event: NonNullable<StoredAsset["announced"]>): void {
  asset.announced = event;
  effects.push({ type: "NotifyApp", event });
}

function create(upload: UploadDeclaration, context: Context): Transition {
  const { atMs } = context.stamp;
  const asset: StoredAsset = {
    version: 1,
    fileId: upload.fileId,
    clientName: upload.clientName,
    projectName: upload.projectName,
    fileName: upload.fileName,
    sizeBytes: upload.sizeBytes,
    sha256: upload.sha256 ?? null,
    upload: upload.source,
    createdAtMs: atMs,
    updatedAtMs: atMs,
    job: {
      state: "received",
      stateBeforeDelete: null,
      jobId: null,
      generation: 0,
      priority: upload.priority ?? 50,
      lease: null,
      transcodeFailures: [],
      archive: idleStep(),
      transcode: idleStep(),
      graceEndsAtMs: null,
    },
    original: null,
    source: null,
    renditions: [],
    announced: null,
    pinnedUntilMs: null,
  };
  const draft: Draft = { asset, effects: [], ...context };
  startArchive(draft, asset.job);
  conclude(draft, null, { type: "UploadNoticed", upload });
  return { state: asset, effects: draft.effects, verdict: "applied", errors: [] };
}

function contradictions(asset: StoredAsset, upload: UploadDeclaration): Transition["errors"] {
  const fields = ["clientName", "projectName", "fileName", "sizeBytes"] as const;
  const errors = fields
    .filter((field) => asset[field] !== upload[field])
    .map((field) => ({ path: `data.${field}`, message: `differs from the known ${JSON.stringify(asset[field])}` }));
  if (upload.sha256 !== undefined && asset.sha256 !== null && upload.sha256 !== asset.sha256) {
    errors.push({ path: "data.sha256", message: "differs from the known one" });
  }
  return errors;
}

const toJob = (draft: Draft, event: JobEvent) => follow(jobTable, draft, draft.asset.job, event, (job) => job.state);

const toRendition = (draft: Draft, rendition: StoredRendition, event: RenditionEvent) =>
  follow(renditionTable, draft, rendition, event, (subject) => subject.state);

const toCopy = (draft: Draft, rendition: StoredRendition, copy: StoredCopy, event: CopyEvent) =>
  follow(copyTable, draft, { rendition, copy }, event, (subject) => subject.copy.state);

const renditionOf = ({ asset }: Draft, quality: Quality) =>
  asset.renditions.find((rendition) => rendition.quality === quality);

function route(draft: Draft, event: AssetEvent): Verdict {
  switch (event.type) {
    case "UploadNoticed":
    case "OriginalArchived":
    case "OriginalLost":
    case "OriginalFound":
    case "TranscodeClaimed":
    case "LeaseRenewed":
    case "TranscodeFailed":
    case "LeaseReleased":
    case "LeaseExpired":
    case "PriorityChanged":
    case "CancelRequested":
    case "DeleteRequested":
    case "UndeleteRequested":
    case "GraceElapsed":
      return toJob(draft, event);
    case "SourceProbed":
      return startLadder(draft, event);
    case "UploadOpened":
    case "RenditionUploaded": {
      const rendition = renditionOf(draft, event.quality);
      if (rendition === undefined || draft.asset.job.lease?.token !== event.lease) return "ignored";
      return toRendition(draft, rendition, event);
    }
    case "RenditionArchived":
    case "ArchiveLost": {
      const rendition = renditionOf(draft, event.quality);
      const verdict = rendition === undefined ? "ignored" : toRendition(draft, rendition, event);
      if (rendition !== undefined && verdict === "applied") replaceCopies(draft, rendition);
      return verdict;
    }
    case "ProxyRequested":
    case "PromotionRequested":
      return requestProxy(draft, event);
    case "PinChanged":
      return changePin(draft, event);
    case "CopyPlaced":
    case "CopyRemoved":
    case "RemovalCalledOff":
    case "ProxyAccessed":
      return routeCopy(draft, event.quality, event.tier, event);
    case "RetentionElapsed":
    case "EvictionRequested":
      return routeCopy(draft, event.quality, "r2", event);
    case "StepBegan":
    case "TransferOpened":
    case "PartsMoved":
    case "StepDeferred":
    case "StepFailed":
    case "StepDue":
    case "StepOverdue":
      return routeStep(draft, event);
    case "RetryRequested":
      return retry(draft, event);
  }
}

function routeCopy(draft: Draft, quality: Quality, tier: StoredCopy["tier"], event: CopyEvent): Verdict {
  const rendition = renditionOf(draft, quality);
  const copy = rendition && copyOn(rendition, tier);
  return rendition === undefined || copy === undefined ? "ignored" : toCopy(draft, rendition, copy, event);
}

function routeStep(
  draft: Draft,
  event: EventOf<
    "StepBegan" | "TransferOpened" | "PartsMoved" | "StepDeferred" | "StepFailed" | "StepDue" | "StepOverdue"
  >,
): Verdict {
  switch (event.step.kind) {
    case "archive":
    case "transcode":
      return toJob(draft, event);
    case "complete": {
      const rendition = renditionOf(draft, event.step.quality);
      return rendition === undefined ? "ignored" : toRendition(draft, rendition, event);
    }
    case "copy":
      return routeCopy(draft, event.step.quality, event.step.tier, event);
  }
}

/** Plans the ladder from what the holder saw; what this job has archived or uploaded already is not encoded again. */
function startLadder(draft: Draft, event: EventOf<"SourceProbed">): Verdict {
  const isChanged = hasOtherRate(draft.asset.source, event.source);
  const verdict = toJob(draft, event);
  const { asset, policy } = draft;
  if (verdict !== "applied" || asset.job.jobId === null) return verdict;
  const plans = planLadder(event.source, policy.ladder);
  dropUnplanned(asset, plans);
  for (const plan of plans) {
    let rendition = renditionOf(draft, plan.quality);
    if (rendition === undefined) {
      rendition = newRendition(asset.job.jobId, plan);
      asset.renditions.push(rendition);
    }
    if (rendition.state === "wanted" || rendition.state === "failed" || (isChanged && rendition.state === "encoding")) {
      toRendition(draft, rendition, { type: "EncodingBegan", plan });
    }
  }
  return "applied";
}

/** Damage that is told later changes no plan. */
function hasOtherRate(before: StoredAsset["source"], { fps, vfr }: SourceProbe): boolean {
  return before !== null && (before.fps.num !== fps.num || before.fps.den !== fps.den || before.vfr !== vfr);
}

/**
 * A rung that left the ladder before anything of it was made would be waited for for ever. One that was ever commanded
 * stays: its fencing number must not start over.
 */
function dropUnplanned(asset: StoredAsset, plans: readonly StoredRendition["plan"][]): void {
  asset.renditions = asset.renditions.filter(
    ({ quality, state, step }) =>
      plans.some((plan) => plan.quality === quality) || step.op > 0 || (state !== "wanted" && state !== "failed"),
  );
}

const newRendition = (jobId: string, plan: StoredRendition["plan"]): StoredRendition => ({
  quality: plan.quality,
  state: "wanted",
  jobId,
  plan,
  upload: null,
  step: idleStep(),
  width: null,
  height: null,
  frames: null,
  durationSeconds: null,
  sizeBytes: null,
  sha256: null,
  etag: null,
  verifiedAtMs: null,
  copies: [],
});

/** A rendition may be asked for that was never on R2: its copy begins here. */
function requestProxy(draft: Draft, event: EventOf<"ProxyRequested" | "PromotionRequested">): Verdict {
  const rendition = renditionOf(draft, event.quality);
  if (rendition === undefined || !mayPlace(draft.asset)) return "ignored";
  const byViewer = event.type === "ProxyRequested";
  if (byViewer && rendition.jobId !== event.jobId) return "ignored";
  const copy = copyOn(rendition, "r2");
  if (copy !== undefined) return toCopy(draft, rendition, copy, event);
  const { atMs } = draft.stamp;
  const wish = byViewer ? { lastAccessAtMs: atMs } : { pinnedUntilMs: event.pinnedUntilMs };
  rendition.copies.push({ ...newCopy("r2", rendition.jobId, byViewer ? "viewer" : "operator"), ...wish });
  return "applied";
}

function changePin({ asset, stamp }: Draft, { untilMs }: EventOf<"PinChanged">): Verdict {
  if (asset.job.state === "deleted") return "ignored";
  const copies = asset.renditions.flatMap((rendition) => rendition.copies);
  const lifted = untilMs === null ? copies.filter((copy) => copy.pinnedUntilMs !== null) : [];
  const holds = untilMs !== null && untilMs > stamp.atMs && mayPlace(asset);
  // A removal that is under way cannot be called back: what it takes is made again.
  const leaving = holds
    ? copies.filter(({ tier, state, wantedAgain }) => tier === "r2" && state === "removing" && !wantedAgain)
    : [];
  if (asset.pinnedUntilMs === untilMs && lifted.length === 0 && leaving.length === 0) return "ignored";
  asset.pinnedUntilMs = untilMs;
  for (const copy of lifted) copy.pinnedUntilMs = null;
  for (const copy of leaving) Object.assign(copy, { wantedAgain: true, reason: "operator" });
  return "applied";
}

function retry(draft: Draft, event: EventOf<"RetryRequested">): Verdict {
  const verdicts = [toJob(draft, event)];
  for (const rendition of draft.asset.renditions) {
    for (const copy of rendition.copies) verdicts.push(toCopy(draft, rendition, copy, event));
  }
  return verdicts.includes("applied") ? "applied" : "ignored";
}

/** What one machine's change means to the others; each step below leads forward, so that it ends. */
function settle(draft: Draft, jobBefore: StoredAsset["job"]["state"] | null): void {
  const { job } = draft.asset;
  endFinishedLease(draft);
  stopLeaselessEncoding(draft);
  const { renditions } = draft.asset;
  const finishing = ["archived", "transcoding", "failed"].includes(job.state);
  if (finishing && renditions.length > 0 && renditions.every(({ state }) => state === "archived")) {
    toJob(draft, { type: "LadderArchived" });
  }
  offerLacking(draft);
  if (job.state === "failed") eachRendition(draft, { type: "EncodingGivenUp" });
  if (mayPlace(draft.asset)) placeArchived(draft);
  if (job.state === "deleted" && jobBefore !== "deleted") {
    for (const rendition of renditions) eachCopy(draft, rendition, { type: "CopyWithdrawn" });
  }
}

/** Copies that hold an earlier job's bytes give way once the successor is verified in Wasabi. */
function replaceCopies(draft: Draft, rendition: StoredRendition): void {
  if (rendition.state !== "archived" || draft.asset.job.state === "deleted") return;
  for (const copy of rendition.copies) {
    if (copy.jobId !== rendition.jobId) toCopy(draft, rendition, copy, { type: "SourceReplaced" });
  }
}

function eachCopy(draft: Draft, rendition: StoredRendition, event: CopyEvent): void {
  for (const copy of rendition.copies) toCopy(draft, rendition, copy, event);
}

function eachRendition(draft: Draft, event: RenditionEvent): void {
  for (const rendition of draft.asset.renditions) toRendition(draft, rendition, event);
}

/** The runner has nothing left to encode: what remains is the archive consumer's, and a lease would only expire. */
function endFinishedLease({ asset }: Draft): void {
  const { job, renditions } = asset;
  if (job.lease?.probed && !renditions.some(({ state }) => state === "encoding")) job.lease = null;
}

function stopLeaselessEncoding(draft: Draft): void {
  if (draft.asset.job.lease === null) eachRendition(draft, { type: "EncodingStopped" });
}

function offerLacking(draft: Draft): void {
  const { job, renditions } = draft.asset;
  if (job.lease !== null || (job.state !== "transcoding" && job.state !== "encoded")) return;
  const lacking = renditions.find(({ state }) => state === "wanted");
  if (lacking === undefined) return;
  const { code, message } = lacking.step.problem ?? { code: "RUNNER_FAILED", message: "The runner ended without it." };
  toJob(draft, { type: "RenditionLacking", code, message });
}

function placeArchived(draft: Draft): void {
  for (const rendition of draft.asset.renditions) {
    if (rendition.state !== "archived") continue;
    for (const tier of wantedTiers(draft.asset, rendition, draft.policy)) {
      if (copyOn(rendition, tier) === undefined) rendition.copies.push(newCopy(tier, rendition.jobId));
    }
    for (const copy of rendition.copies) {
      if (copy.state === "wanted") toCopy(draft, rendition, copy, { type: "SourceReady" });
    }
  }
}
