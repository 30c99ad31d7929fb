/**
 * Playback URLs: what is signed, by which key, and how a signature is checked. The method is not signed, so one URL
 * serves GET and HEAD; everything else that decides what is served, and how long, is.
 */
import { z } from "zod";
import { FileId, FileName } from "../schemas/id.ts";
import { type EdgeKey, edgeKey, parseEdgeKey } from "../schemas/key.ts";
import type { Quality } from "../schemas/ladder.ts";
import { Refusal } from "./problem.ts";
import type { Keyring } from "./stores/config.ts";

export interface PlaybackTarget {
  fileId: string;
  jobId: string;
  quality: Quality;
  /** The name that a download is saved under; null plays in place. Signed, so that a hit needs no look at the asset. */
  downloadName: string | null;
  expiresAtSeconds: number;
}

/** A URL that was proven, and what that took some work to find out. */
export interface ProvenPlayback extends PlaybackTarget {
  /** Where R2 has it, if it has it. */
  key: EdgeKey;
}

const Query = z.object({
  asset: FileId,
  exp: z.string().regex(/^[1-9]\d{0,11}$/),
  kid: z.string().min(1).max(64),
  sig: z.string().regex(/^[A-Za-z0-9_-]{43}$/),
  download: z.literal("1").optional(),
  name: FileName.optional(),
});

const pathOf = (target: PlaybackTarget) => `/${edgeKey(target.jobId, target.quality)}`;

/** One field a line: none of them can hold a line break (a FileName neither), so no two targets sign the same text. */
function canonicalText(target: PlaybackTarget, kid: string): string {
  const fields = [pathOf(target), target.fileId, String(target.expiresAtSeconds), target.downloadName ?? "", kid];
  return ["playback-v1", ...fields].join("\n");
}

const imported = new WeakMap<Uint8Array, CryptoKey>();

/** Once per isolate: settings are read once, and each range request needs the key. */
async function importKey(secret: Uint8Array<ArrayBuffer>): Promise<CryptoKey> {
  const known = imported.get(secret);
  if (known !== undefined) return known;
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const key = await crypto.subtle.importKey("raw", secret, algorithm, false, ["sign", "verify"]);
  imported.set(secret, key);
  return key;
}

/** Signs with the ring's first key. */
export async function signPlaybackUrl(publicUrl: string, keys: Keyring, target: PlaybackTarget): Promise<string> {
  const [{ kid, secret }] = keys;
  const text = new TextEncoder().encode(canonicalText(target, kid));
  const signature = new Uint8Array(await crypto.subtle.sign("HMAC", await importKey(secret), text));
  const url = new URL(publicUrl + pathOf(target));
  url.searchParams.set("asset", target.fileId);
  url.searchParams.set("exp", String(target.expiresAtSeconds));
  url.searchParams.set("kid", kid);
  url.searchParams.set("sig", base64Url(signature));
  if (target.downloadName !== null) {
    url.searchParams.set("download", "1");
    url.searchParams.set("name", target.downloadName);
  }
  return url.href;
}

/** What the newest URLs grant whose signatures were good: a player asks for a hundred ranges of one. By the ring that proved them. */
const proven = new WeakMap<Keyring, Map<string, ProvenPlayback>>();
const mostProven = 1_000;
/** No URL of ours is longer; what is not signed may follow, and would fill the isolate. */
const longestProven = 2_048;

/**
 * @returns what the URL grants, or null when its path is no proxy's
 * @throws Refusal BAD_SIGNATURE or URL_EXPIRED, both 403
 */
export async function verifyPlaybackUrl(url: URL, keys: Keyring, nowMs: number): Promise<ProvenPlayback | null> {
  const known = proven.get(keys) ?? new Map<string, ProvenPlayback>();
  proven.set(keys, known);
  // To the letter: whatever differs is checked by itself.
  const signed = url.pathname + url.search;
  const target = known.get(signed) ?? (await proveSignature(url, keys));
  if (target === null) return null;
  if (signed.length <= longestProven) {
    known.delete(signed);
    known.set(signed, target);
  }
  const [oldest] = known.keys();
  if (known.size > mostProven && oldest !== undefined) known.delete(oldest);
  // Told only of a URL that was ours: a forged one learns nothing.
  if (target.expiresAtSeconds * 1000 <= nowMs) {
    throw new Refusal("URL_EXPIRED", "This playback URL has expired. Ask for a new one.");
  }
  return target;
}

async function proveSignature(url: URL, keys: Keyring): Promise<ProvenPlayback | null> {
  const parts = parseEdgeKey(url.pathname.slice(1));
  if (parts === null) return null;
  const query = Query.safeParse(Object.fromEntries(url.searchParams));
  if (!query.success) throw badSignature();
  const target: PlaybackTarget = {
    fileId: query.data.asset,
    jobId: parts.jobId,
    quality: parts.quality,
    downloadName: query.data.download === "1" ? (query.data.name ?? null) : null,
    expiresAtSeconds: Number(query.data.exp),
  };
  const named = keys.find(({ kid }) => kid === query.data.kid);
  if (named === undefined) throw badSignature();
  const text = new TextEncoder().encode(canonicalText(target, named.kid));
  const key = await importKey(named.secret);
  if (!(await crypto.subtle.verify("HMAC", key, bytesOfBase64Url(query.data.sig), text))) throw badSignature();
  return { ...target, key: edgeKey(target.jobId, target.quality) };
}

function badSignature(): Refusal {
  return new Refusal("BAD_SIGNATURE", "This is not a playback URL that was issued here.", { status: 403 });
}

function base64Url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");
}

function bytesOfBase64Url(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (char) => char.charCodeAt(0));
}
