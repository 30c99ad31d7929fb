/**
 * What the timer does, every minute: sweeps R2, looks for lost originals, carries out orders about projects, keeps the
 * ledgers, watches the catalogue's lag, aborts uploads whose consumer died or that nobody knows, drops old records.
 */
import { EdgeKey } from "../../schemas/key.ts";
import { log } from "../log.ts";
import { decisionMs } from "../stores/clock.ts";
import { type Env, readConfig } from "../stores/config.ts";
import { clearStaleUnserved } from "../stores/delivery-count.ts";
import { pruneRecords } from "../stores/incident.ts";
import { abandonedUploads, forgetUpload, type OpenUpload } from "../stores/open-upload.ts";
import { abortEdgeUpload } from "../stores/r2-place.ts";
import { forgetEndedTokens } from "../stores/revoked-token.ts";
import { type WasabiStore, wasabiStore } from "../stores/wasabi.ts";
import { watchCatalogueLag } from "./catalogue-lag.ts";
import { sweepEdgeStrangers } from "./edge-stranger.ts";
import { keepLedgers } from "./ledger.ts";
import { lookForOriginals } from "./lost-original.ts";
import { advanceProjectRuns } from "./project-run.ts";
import { sweepRetention } from "./retention.ts";
import { sweepStrayUploads } from "./stray-upload.ts";
import { holdOf } from "./upload-holder.ts";

const hourMs = 60 * 60_000;
/** Far beyond a consumer's life, so that no upload under way is hit. */
const abandonedAfterMs = 2 * hourMs;
const uploadsAtOnce = 100;
/** A viewer who cannot be served raises it again each minute. */
const unservedStaleMs = hourMs;
const keptRecordsMs = 90 * 24 * hourMs;

const before = (nowMs: number, ageMs: number) => new Date(nowMs - ageMs).toISOString();

export async function handleScheduled(
  controller: ScheduledController,
  env: Env,
  _ctx: ExecutionContext,
): Promise<void> {
  const nowMs = decisionMs(env, controller.scheduledTime);
  const { policy, wasabi } = readConfig(env);
  const jobs: Record<string, () => Promise<unknown>> = {
    retention: () => sweepRetention(env, policy, nowMs),
    projectRuns: () => advanceProjectRuns(env, nowMs),
    abandonedUploads: () => abortAbandoned(env, nowMs),
    oldRecords: () => pruneRecords(env.CATALOGUE, before(nowMs, keptRecordsMs)),
    catalogueLag: () => watchCatalogueLag(env, nowMs),
    revokedTokens: () => forgetEndedTokens(env.CATALOGUE, controller.scheduledTime),
    ledgers: () => keepLedgers(env, nowMs),
    edgeStrangers: () => sweepEdgeStrangers(env, nowMs),
    lostOriginals: () => lookForOriginals(env, wasabiStore(wasabi), nowMs),
    unservedAlert: () => clearUnserved(env, controller.scheduledTime),
    strayUploads: () => sweepStrayUploads(env, wasabiStore(wasabi), nowMs),
  };
  for (const [job, work] of Object.entries(jobs)) {
    // What one cannot do now keeps none of the others from its work; each comes again with the next tick.
    await work().catch((error: unknown) => log({ event: "timer.job-failed", job }, error));
  }
}

/** By the true clock, as delivery raises it: a stack that lives ahead of time would clear it at once. */
function clearUnserved(env: Env, nowMs: number): Promise<void> {
  return clearStaleUnserved(env.CATALOGUE, { at: before(nowMs, 0), lastRaisedBefore: before(nowMs, unservedStaleMs) });
}

/** One that cannot be aborted now is tried again at the next tick, and keeps nobody else waiting. */
async function abortAbandoned(env: Env, nowMs: number): Promise<void> {
  const wasabi = wasabiStore(readConfig(env).wasabi);
  for (const { key, uploadId, fileId } of await abandonedUploads(
    env.CATALOGUE,
    before(nowMs, abandonedAfterMs),
    uploadsAtOnce,
  )) {
    try {
      const hold = await holdOf(env, fileId, { key, uploadId });
      if (hold === "unanswered") continue;
      // A note that outlived the hand-over: the asset watches over its upload itself.
      if (hold === "free") await abort(env, wasabi, { key, uploadId });
      await forgetUpload(env.CATALOGUE, uploadId);
    } catch (error) {
      log({ event: "upload.abort-failed", key }, error);
    }
  }
}

async function abort(env: Env, wasabi: WasabiStore, { key, uploadId }: OpenUpload): Promise<void> {
  const onEdge = EdgeKey.safeParse(key);
  if (onEdge.success) await abortEdgeUpload(env.PROXIES, onEdge.data, uploadId);
  else await wasabi.abortMultipart(key, uploadId);
}
