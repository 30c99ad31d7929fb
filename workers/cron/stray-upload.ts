/**
 * Finds multipart uploads in Wasabi that nobody knows any more and aborts them, since their parts are billed. Deletes
 * nothing that it has not seen in two complete listings, past a grace, unknown to every record and to the asset itself.
 */
import { parseOriginalKey, parseProxyKey } from "../../schemas/key.ts";
import { tellAlert } from "../alert-feed.ts";
import { log } from "../log.ts";
import type { Env } from "../stores/config.ts";
import { clearAlert, raiseAlert } from "../stores/incident.ts";
import { StoreFailure } from "../stores/store-failure.ts";
import { archivedAmong, beginSweep, notedAmong, noteListed, noteTrouble } from "../stores/stray-upload.ts";
import type { WasabiStore } from "../stores/wasabi.ts";
import type { ListedUpload } from "../stores/wasabi-upload-list.ts";
import { holdOf } from "./upload-holder.ts";

const sweepName = "stray-uploads";
const prefixes = ["originals/", "proxies/"] as const;
const hourMs = 60 * 60_000;

const strayCause = "stray-uploads";
const unlistableCause = "stray-uploads:unlistable";

export const strayLimits = {
  /** A listing is a request that is paid for, and strays are rare. */
  intervalMs: hourMs,
  /** Far beyond the longest transfer of ours. */
  graceMs: 24 * hourMs,
  /** Should all of the above be wrong, little is lost before a person reads the alert. */
  abortsAtOnce: 20,
  /** Looked at in one sweep, the oldest first. */
  candidatesAtOnce: 500,
} as const;

export type StrayLimits = { readonly [Name in keyof typeof strayLimits]: number };

const iso = (atMs: number) => new Date(atMs).toISOString();

/** Once an hour at most, however often it is called. */
export async function sweepStrayUploads(
  env: Env,
  wasabi: WasabiStore,
  nowMs: number,
  limits: StrayLimits = strayLimits,
): Promise<void> {
  const now = iso(nowMs);
  // A minute's leniency: the timer's ticks are not punctual.
  const before = iso(nowMs - limits.intervalMs + 60_000);
  if (!(await beginSweep(env.CATALOGUE, sweepName, now, before))) return;
  const listed = await listAll(env, wasabi, now);
  if (listed === null) return;
  const ours = listed.filter((upload) => ownerOf(upload) !== null);
  const old = pastGrace(ours, nowMs - limits.graceMs).slice(0, limits.candidatesAtOnce);
  const seenBefore = await noteListed(env.CATALOGUE, sweepName, old, now);
  const strays = await unknown(
    env,
    old.filter(({ uploadId }) => seenBefore.has(uploadId)),
  );
  const aborted = await abort(env, wasabi, strays.slice(0, limits.abortsAtOnce), now);
  if (strays.length === 0) {
    await clearAlert(env.CATALOGUE, strayCause, now);
    return;
  }
  log({ event: "stray-uploads.swept", found: strays.length, aborted });
  const message = `${strays.length} multipart uploads lay in Wasabi that nobody knew; ${aborted} of them were aborted.`;
  await raise(env, { cause: strayCause, code: "STRAY_UPLOAD", message, fileId: null }, now);
}

/** @returns null when anything of it could not be seen: then nothing is touched */
async function listAll(env: Env, wasabi: WasabiStore, now: string): Promise<ListedUpload[] | null> {
  try {
    const lists: ListedUpload[] = [];
    for (const prefix of prefixes) lists.push(...(await wasabi.listUploads(prefix)));
    await clearAlert(env.CATALOGUE, unlistableCause, now);
    return lists;
  } catch (error) {
    if (!(error instanceof StoreFailure)) throw error;
    const { code, message } = error;
    // A store that cannot list says the same every hour.
    if (await noteTrouble(env.CATALOGUE, sweepName, `${code}: ${message}`)) {
      log({ event: "stray-uploads.unlistable", code }, error);
    }
    if (code === "WASABI_FORBIDDEN") {
      const told = `The bucket's multipart uploads cannot be listed. ${message}`;
      await raise(env, { cause: unlistableCause, code, message: told, fileId: null }, now);
    }
    return null;
  }
}

/** Pure. The oldest first. */
export function pastGrace(uploads: readonly ListedUpload[], beforeMs: number): ListedUpload[] {
  return uploads
    .filter(({ initiatedAt }) => Date.parse(initiatedAt) < beforeMs)
    .sort((a, b) => Date.parse(a.initiatedAt) - Date.parse(b.initiatedAt));
}

/** Whose it would be. @returns null for a key that is none of ours, which somebody else answers for. */
function ownerOf({ key, otherKey }: ListedUpload) {
  return ownerOfKey(key) ?? (otherKey === undefined ? null : ownerOfKey(otherKey));
}

function ownerOfKey(key: string): { fileId: string; isOriginal: boolean } | null {
  const proxy = parseProxyKey(key);
  if (proxy !== null) return { fileId: proxy.fileId, isOriginal: false };
  const original = parseOriginalKey(key);
  return original && { fileId: original.fileId, isOriginal: true };
}

/** Noted by no consumer, held by no asset. An original that is not archived may still be on its way from its uploader. */
async function unknown(env: Env, uploads: readonly ListedUpload[]): Promise<ListedUpload[]> {
  const owned = uploads.flatMap((upload) => {
    const owner = ownerOf(upload);
    return owner === null ? [] : [{ upload, ...owner }];
  });
  if (owned.length === 0) return [];
  const noted = await notedAmong(
    env.CATALOGUE,
    owned.map(({ upload }) => upload.uploadId),
  );
  const originals = owned.filter(({ isOriginal }) => isOriginal).map(({ fileId }) => fileId);
  const archived = await archivedAmong(env.CATALOGUE, originals);
  const strays: ListedUpload[] = [];
  for (const { upload, fileId, isOriginal } of owned) {
    if (noted.has(upload.uploadId) || (isOriginal && !archived.has(fileId))) continue;
    if ((await holdOf(env, fileId, upload)) === "free") strays.push(upload);
  }
  return strays;
}

/**
 * A store calls an upload gone that it never had, as under a wrong key: only what another listing no longer shows counts.
 * @returns how many; one that resists is found again by the next sweep
 */
async function abort(env: Env, wasabi: WasabiStore, strays: readonly ListedUpload[], now: string): Promise<number> {
  const tried: ListedUpload[] = [];
  for (const stray of strays) {
    const { key, otherKey, uploadId } = stray;
    try {
      await wasabi.abortMultipart(key, uploadId);
      if (otherKey !== undefined) await wasabi.abortMultipart(otherKey, uploadId);
      tried.push(stray);
    } catch (error) {
      log({ event: "upload.abort-failed", key }, error);
    }
  }
  const left = tried.length === 0 ? null : await listAll(env, wasabi, now);
  if (left === null) return 0;
  const shown = new Set(left.map(({ uploadId }) => uploadId));
  const aborted = tried.filter(({ uploadId }) => !shown.has(uploadId));
  for (const { key, initiatedAt } of aborted) log({ event: "stray-uploads.aborted", key, initiatedAt });
  return aborted.length;
}

async function raise(env: Env, alert: Parameters<typeof raiseAlert>[1], now: string): Promise<void> {
  if (await raiseAlert(env.CATALOGUE, alert, now)) await tellAlert(env, alert, { clientName: null, projectName: null });
}
