/** What must be true of any stack once its assets have come to rest, however rough the way there was. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import type { Asset } from "./asset-document.ts";
import { eventually } from "./eventually.ts";
import { assetObjectCount, edgeKeys, leftovers, nothing } from "./persisted-state.ts";
import type { PipelineClient } from "./pipeline-client.ts";
import { programOf } from "./process-table.ts";
import type { StackProcess } from "./stack-process.ts";

const restTimeoutMs = 60_000;

/**
 * Nothing owed, nothing half-done, nothing that belongs to no asset: no unsent command, no armed timer, no multipart
 * upload left open, no file in R2 or LucidLink beyond the placed copies, no ffmpeg, no folder of sockets.
 */
export async function expectRest(stack: StackProcess, client: PipelineClient, fileIds: string[]): Promise<void> {
  const atRest = () => {
    const left = leftovers(stack.dataDirectory);
    return Object.values(left).every((list) => list.length === 0);
  };
  await eventually({ what: "rest", timeoutMs: restTimeoutMs }, atRest).catch(() => undefined);
  expect(leftovers(stack.dataDirectory)).toEqual(nothing);
  expect(assetObjectCount(stack.dataDirectory)).toBe(fileIds.length);

  const assets = await Promise.all(fileIds.map((fileId) => client.asset(fileId)));
  expect(edgeKeys(stack.dataDirectory)).toEqual(placedKeys(assets, "r2"));
  expect((await client.lucidLinkFiles()).map((path) => `/${path}`)).toEqual(placedKeys(assets, "lucidlink"));

  expect(stack.processes().filter((entry) => /^ff(mpeg|probe)/.test(programOf(entry)))).toEqual([]);
  expect(socketsIn(stack.temporaryDirectory)).toEqual([]);
}

function placedKeys(assets: Asset[], tier: string): string[] {
  return assets
    .flatMap(({ renditions }) => renditions.flatMap(({ copies }) => copies))
    .filter((copy) => copy.tier === tier && copy.status === "placed")
    .map(({ key }) => key)
    .sort();
}

/** Unix sockets under a folder, and the folders made for them. */
export function socketsIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isSocket() || (entry.isDirectory() && entry.name.startsWith("encode-")))
    .map((entry) => join(entry.parentPath, entry.name));
}
