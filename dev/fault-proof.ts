/** Looks at every copy of an asset with its own eyes and tells what is not as the asset's document says. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Asset } from "../schemas/asset.ts";
import { archiveKeys } from "./archive-state.ts";
import { compositeSha256 } from "./composite-checksum.ts";
import { objectUrl, s3Client } from "./s3.ts";
import { requestPlayback } from "./stack-client.ts";
import type { StackFile } from "./stack-file.ts";

const readTimeoutMs = 60_000;

type Rendition = Asset["renditions"][number];

export async function sha256OfFile(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest("hex");
}

/** @returns the bytes, or why there are none */
async function readWasabi(file: StackFile, key: string): Promise<Buffer | string> {
  const response = await s3Client(file.wasabi).fetch(objectUrl(file.wasabi, key), {
    signal: AbortSignal.timeout(readTimeoutMs),
  });
  const bytes = Buffer.from(await response.arrayBuffer());
  return response.ok ? bytes : `Wasabi answered ${response.status} to GET ${key}`;
}

export type Played = { servedFrom: string; bytes: Buffer };

/** As a player reads it, whole. @throws when it does not come whole */
export async function play(file: StackFile, fileId: string, quality: Rendition["quality"]): Promise<Played> {
  const grant = await requestPlayback(file, fileId, quality);
  const response = await fetch(grant.url, { signal: AbortSignal.timeout(readTimeoutMs) });
  const bytes = Buffer.from(await response.arrayBuffer());
  if (response.status !== 200) throw new Error(`delivery answered ${response.status}`);
  return { servedFrom: response.headers.get("x-served-from") ?? "", bytes };
}

/** @returns complaints: none, when what was read is what was recorded */
export function complaintsAbout(where: string, rendition: Rendition, bytes: Buffer | string): string[] {
  const { quality, sizeBytes, sha256 } = rendition;
  if (typeof bytes === "string") return [`${quality} on ${where}: ${bytes}`];
  if (bytes.length !== sizeBytes) return [`${quality} on ${where}: ${bytes.length} bytes, recorded are ${sizeBytes}`];
  if (sha256 === null) return [`${quality}: no checksum is recorded`];
  const composite = compositeSha256(bytes, sha256.partSizeBytes);
  return composite === sha256.composite ? [] : [`${quality} on ${where}: its checksum is not the recorded one`];
}

async function complaintsAboutCopies(file: StackFile, asset: Asset, rendition: Rendition): Promise<string[]> {
  const complaints: string[] = [];
  for (const { tier, key, status } of rendition.copies) {
    if (status !== "placed") {
      complaints.push(`${rendition.quality} on ${tier} is ${status}`);
      continue;
    }
    const reason = (error: Error) => error.message;
    switch (tier) {
      case "wasabi":
        complaints.push(...complaintsAbout("Wasabi", rendition, await readWasabi(file, key).catch(reason)));
        break;
      case "lucidlink":
        complaints.push(
          ...complaintsAbout("LucidLink", rendition, await readFile(join(file.lucidlink.root, key)).catch(reason)),
        );
        break;
      case "r2": {
        const played = await play(file, asset.fileId, rendition.quality).catch(reason);
        const bytes = typeof played === "string" ? played : played.bytes;
        complaints.push(...complaintsAbout("R2", rendition, bytes));
        if (typeof played !== "string" && played.servedFrom !== "r2") {
          complaints.push(`${rendition.quality} is placed on R2 and was served from ${played.servedFrom}`);
        }
      }
    }
  }
  return complaints;
}

/** Every copy of a distributed asset, and the original, byte for byte. */
export async function complaintsAboutAsset(
  file: StackFile,
  asset: Asset,
  original: { sha256: string; frames: number },
): Promise<string[]> {
  const complaints: string[] = [];
  if (asset.original === null) complaints.push("the asset has no original");
  else {
    const bytes = await readWasabi(file, asset.original.key);
    if (typeof bytes === "string") complaints.push(bytes);
    else if (createHash("sha256").update(bytes).digest("hex") !== original.sha256) {
      complaints.push("the original in Wasabi is not the file that was uploaded");
    }
  }
  for (const rendition of asset.renditions) {
    if (rendition.frames !== original.frames) {
      complaints.push(`${rendition.quality} has ${rendition.frames} frames of ${original.frames}`);
    }
    complaints.push(...(await complaintsAboutCopies(file, asset, rendition)));
  }
  return complaints;
}

/** Keys of the archive that belong to nothing, or are lacking. */
export async function complaintsAboutArchive(
  dataDirectory: string,
  asset: Asset,
  uploadedKeys: readonly string[],
): Promise<string[]> {
  const proxies = asset.renditions
    .flatMap(({ copies }) => copies)
    .filter(({ tier, status }) => tier === "wasabi" && status === "placed")
    .map(({ key }) => key);
  const wanted = new Set([...uploadedKeys, ...proxies, ...(asset.original === null ? [] : [asset.original.key])]);
  const found = new Set(await archiveKeys(dataDirectory));
  return [
    ...[...found].filter((key) => !wanted.has(key)).map((key) => `Wasabi holds an object that nobody owns: ${key}`),
    ...[...wanted].filter((key) => !found.has(key)).map((key) => `Wasabi lacks ${key}`),
  ];
}
