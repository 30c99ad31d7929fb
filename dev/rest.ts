/** What must be true of any stack once its assets have come to rest, however rough the way there was. */
import { readdirSync } from "node:fs";
import { join, relative } from "node:path";
import { openArchiveUploads } from "./archive-state.ts";
import { eventually } from "./eventually.ts";
import { assetObjectCount, edgeKeys, leftovers, notedUploads } from "./persisted-state.ts";
import { programOf } from "./process-table.ts";
import type { StackRun } from "./stack-run.ts";

/** What of an asset's document says where its copies are. */
export type PlacedAsset = {
  renditions: { copies: { tier: string; status: string; key: string }[] }[];
};

const restTimeoutMs = 60_000;
const pollMs = 500;

/**
 * Waits until nothing is owed, and tells what is not as it should be: an unsent command, an armed timer, a multipart
 * upload left open, a file in R2 or LucidLink beyond the placed copies or one that lacks, an ffmpeg, a folder of sockets.
 * @returns nothing, of a stack at rest
 */
export async function unrest(
  stack: StackRun,
  readAssets: () => Promise<readonly PlacedAsset[]>,
  lucidLinkRoot: string,
): Promise<string[]> {
  let left = ["nothing could be looked at"];
  // Kept, not looked at twice: a runner that has just been started runs an ffmpeg for a moment.
  await eventually({ what: "rest", timeoutMs: restTimeoutMs, everyMs: pollMs }, async () => {
    left = await whatIsLeft(stack, await readAssets(), lucidLinkRoot);
    return left.length === 0;
  }).catch(() => undefined);
  return left;
}

async function whatIsLeft(stack: StackRun, assets: readonly PlacedAsset[], lucidLinkRoot: string): Promise<string[]> {
  const { dataDirectory, temporaryDirectory } = stack;
  const left = leftovers(dataDirectory);
  const files = filesIn(lucidLinkRoot).map((path) => `/${path}`);
  const objects = assetObjectCount(dataDirectory);
  return [
    ...left.outbox.map((row) => `a command that was not sent: ${row}`),
    ...left.timers.map((row) => `an armed timer: ${row}`),
    ...withoutEach(await openArchiveUploads(dataDirectory), notedUploads(dataDirectory)).map(
      (key) => `an open upload in Wasabi: ${key}`,
    ),
    ...left.openEdgeUploads.map((key) => `an open upload on R2: ${key}`),
    ...difference("R2", edgeKeys(dataDirectory), placedKeys(assets, "r2")),
    ...difference("LucidLink", files, placedKeys(assets, "lucidlink")),
    ...(objects === assets.length ? [] : [`${objects} asset objects of ${assets.length} assets`]),
    ...stack
      .processes()
      .filter((entry) => /^ff(mpeg|probe)/.test(programOf(entry)))
      .map(({ pid }) => `an ffmpeg, pid ${pid}`),
    ...socketsIn(temporaryDirectory).map((path) => `a socket or its folder: ${path}`),
  ];
}

/** Each of the second takes away one of its kind. */
function withoutEach(all: readonly string[], some: readonly string[]): string[] {
  const rest = [...all];
  for (const one of some) {
    const at = rest.indexOf(one);
    if (at >= 0) rest.splice(at, 1);
  }
  return rest;
}

function difference(tier: string, found: readonly string[], placed: readonly string[]): string[] {
  return [
    ...withoutEach(found, placed).map((key) => `a file on ${tier} that belongs to no placed copy: ${key}`),
    ...withoutEach(placed, found).map((key) => `a placed copy that is not on ${tier}: ${key}`),
  ];
}

function placedKeys(assets: readonly PlacedAsset[], tier: string): string[] {
  return assets
    .flatMap(({ renditions }) => renditions.flatMap(({ copies }) => copies))
    .filter((copy) => copy.tier === tier && copy.status === "placed")
    .map(({ key }) => key);
}

/** Every file under a folder, hidden and half-written ones too, relative to it. */
export function filesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
    .sort();
}

/** Unix sockets under a folder, and the folders made for them. */
function socketsIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isSocket() || (entry.isDirectory() && entry.name.startsWith("encode-")))
    .map((entry) => join(entry.parentPath, entry.name));
}
