/** Odd inputs: each ends in the right state, with the right message, at the right size. One stack takes them all. */
import { createReadStream } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openArchiveUploads } from "../../dev/archive-state.ts";
import { eventually } from "../../dev/eventually.ts";
import { leftovers, nothing } from "../../dev/persisted-state.ts";
import type { Asset } from "./asset-document.ts";
import { ClipFolder } from "./media-clip.ts";
import { decodingErrors, type MediaFacts, probeMedia } from "./media-file.ts";
import { newFileId, originalKeyOf, type PipelineClient, proxyKeyOf, type Upload } from "./pipeline-client.ts";
import { StackProcess } from "./stack-process.ts";

const distributeTimeoutMs = 180_000;
/** The promise: an original that never comes fails its asset within two minutes. */
const missingTimeoutMs = 120_000;
const oddName = "Ünïcôdé 東京 100% + take #1 & 2?.mov";
/** As long as a name may be: 255 bytes. */
const longName = `${"東".repeat(83)}é.mov`;

let stack: StackProcess;
let clips: ClipFolder;
let client: PipelineClient;
let files: Server;
let small: string;
let absent: Upload;
let absentSinceMs: number;
const uploads = new Map<string, Upload>();

beforeAll(async () => {
  [clips, stack] = await Promise.all([ClipFolder.make(), StackProcess.start()]);
  client = await stack.client();
  small = await clips.clip({ width: 640, height: 360, seconds: 2 });

  // Announced first: its two minutes pass while the others are worked on.
  const fileId = newFileId();
  const named = { fileId, clientName: "acme", projectName: "launch-film", fileName: "late.mov" };
  absent = {
    ...named,
    sizeBytes: (await stat(small)).size,
    source: { kind: "wasabi", key: originalKeyOf({ ...named }) },
  };
  expect((await client.sendWebhook(absent)).status).toBe(202);
  absentSinceMs = Date.now();
  const armed = () => leftovers(stack.dataDirectory).timers.some((timer) => timer.startsWith("archive "));
  await eventually({ what: "a timer for the original that is awaited", timeoutMs: 30_000 }, armed);

  const send = async (name: string, file: string, options: Parameters<PipelineClient["ingest"]>[1] = {}) => {
    uploads.set(name, await client.ingest(file, options));
  };
  await send("text", await clips.write("notes.mov", "These are meeting notes, not a film.\n".repeat(500)));
  await send("480p", await clips.clip({ width: 854, height: 480, seconds: 2 }));
  await send("portrait", await clips.turned(await clips.clip({ width: 960, height: 540, seconds: 2 })));
  await send("silent", await clips.clip({ width: 640, height: 360, seconds: 2, sound: false }));
  await send("tiny", await clips.clip({ width: 320, height: 180, seconds: 2 }));
  await send("odd name", small, { fileName: oddName });
  await send("long name", small, { fileName: longName });
  await send("damaged", await clips.write("damaged.mp4", withHole(await readFile(small))));
  await send("elsewhere", small, { key: "incoming/card 7/A001 + B.mov" });

  files = createServer((request, response) => void serveSmall(request.headers.range, response));
  await new Promise<void>((resolve) => files.listen(0, "127.0.0.1", resolve));
  const fromUrl: Upload = {
    ...named,
    fileId: newFileId(),
    fileName: "from-url.mov",
    sizeBytes: (await stat(small)).size,
    source: { kind: "url", url: `http://127.0.0.1:${(files.address() as AddressInfo).port}/A001.mov?token=s3cret` },
  };
  expect((await client.sendWebhook(fromUrl)).status).toBe(202);
  uploads.set("url", fromUrl);
}, 180_000);

afterAll(async () => {
  files?.close();
  files?.closeAllConnections();
  await stack?.destroy();
  await clips?.remove();
});

/** A server of an uploader's own: one file, whole or by range. */
async function serveSmall(range: string | undefined, response: import("node:http").ServerResponse): Promise<void> {
  const { size } = await stat(small);
  const match = /^bytes=(\d+)-(\d*)$/.exec(range ?? "");
  const etag = '"0123456789abcdef"';
  if (match === null) {
    response.writeHead(200, { "content-length": size, "accept-ranges": "bytes", etag });
    createReadStream(small).pipe(response);
    return;
  }
  const start = Number(match[1]);
  const end = Math.min(size - 1, match[2] === "" ? size - 1 : Number(match[2]));
  response.writeHead(206, {
    "content-length": end - start + 1,
    "content-range": `bytes ${start}-${end}/${size}`,
    etag,
  });
  createReadStream(small, { start, end }).pipe(response);
}

/** Zeros in the middle of its media, as on a bad card. */
function withHole(movie: Buffer): Buffer {
  const mdat = movie.indexOf("mdat") + 4;
  const bytes = movie.readUInt32BE(mdat - 8);
  return Buffer.from(movie).fill(0, mdat + Math.floor(bytes * 0.4), mdat + Math.floor(bytes * 0.6));
}

function uploadOf(name: string): Upload {
  const upload = uploads.get(name);
  if (upload === undefined) throw new Error(`${name} was not uploaded`);
  return upload;
}

async function distributed(name: string): Promise<Asset> {
  return await client.followTo(uploadOf(name).fileId, "distributed", distributeTimeoutMs);
}

async function renditionOf(asset: Asset, quality: string): Promise<MediaFacts> {
  const bytes = await client.getWasabi(proxyKeyOf(asset, quality));
  return await probeMedia(await clips.write(`${asset.fileId}-${quality}.mp4`, bytes));
}

const sizesOf = ({ renditions }: Asset) =>
  renditions.map(({ quality, width, height }) => `${quality} ${width}x${height}`).sort();

test("footage that is damaged in the middle is distributed, and its damage told", async () => {
  const asset = await distributed("damaged");
  expect(asset.problem).toMatchObject({ step: "source", code: "SOURCE_DAMAGED", retryable: false });
  expect(asset.problem?.message).toMatch(/^The original is damaged: \d+\.\d s of picture/);
  const [first] = asset.source?.damage ?? [];
  expect(first).toMatchObject({ what: "picture" });
  expect(first?.fromSeconds).toBeGreaterThan(0.3);
  expect(first?.toSeconds).toBeLessThan(2);
  const rendition = await renditionOf(asset, "360p");
  expect(rendition.video.frames).toBe((await probeMedia(small)).video.frames);
});

test("a text file with a film's name fails as INVALID_MEDIA at the first try", async () => {
  const { fileId } = uploadOf("text");
  const asset = await client.followTo(fileId, "failed", distributeTimeoutMs);
  expect(asset.problem).toMatchObject({ code: "INVALID_MEDIA", step: "transcode", retryable: false });
  expect(asset.problem?.message).not.toBe("");
  expect(asset.generation).toBe(1);
  expect(asset.renditions).toEqual([]);
  const claims = (await client.history(fileId)).filter(({ event }) => event === "TranscodeClaimed");
  expect(claims).toHaveLength(1);
  const told = await eventually({ what: "the call", timeoutMs: 30_000 }, async () => {
    const types = (await client.appCalls(fileId)).map(({ body }) => body.type);
    return types.includes("asset.failed") && types;
  });
  expect(told.sort()).toEqual(["asset.archived", "asset.failed"]);
});

test("854×480 gives 360p only, at its own shape", async () => {
  const asset = await distributed("480p");
  expect(sizesOf(asset)).toEqual(["360p 640x360"]);
  expect((await renditionOf(asset, "360p")).video).toMatchObject({ width: 640, height: 360, frames: 50 });
  const tiers = asset.renditions.flatMap(({ copies }) => copies.map(({ tier, status }) => `${tier} ${status}`));
  expect(tiers.sort()).toEqual(["lucidlink placed", "r2 placed", "wasabi placed"]);
});

test("a clip held upright becomes upright renditions that need no turning", async () => {
  const asset = await distributed("portrait");
  expect(asset.source).toMatchObject({ width: 540, height: 960 });
  expect(sizesOf(asset)).toEqual(["360p 360x640", "540p 540x960"]);
  const { video } = await renditionOf(asset, "540p");
  expect(video).toMatchObject({ width: 540, height: 960, frames: 50 });
});

test("a clip without sound stays without, and is no failure", async () => {
  const asset = await distributed("silent");
  const facts = await renditionOf(asset, "360p");
  expect(facts.audio).toBeNull();
  expect(facts.video).toMatchObject({ frames: 50 });
  expect(facts.video.durationSeconds).toBeCloseTo(2, 2);
});

test("a source below 360p keeps its size, under 360p", async () => {
  const asset = await distributed("tiny");
  expect(sizesOf(asset)).toEqual(["360p 320x180"]);
  expect((await renditionOf(asset, "360p")).video).toMatchObject({ width: 320, height: 180, frames: 50 });
});

test.each([
  ["odd name", oddName],
  ["long name", longName],
])("a name comes through unchanged: %s", async (name, fileName) => {
  const asset = await distributed(name);
  expect(asset.fileName).toBe(fileName);
  expect(asset.original?.key).toBe(originalKeyOf(uploadOf(name)));
  expect(await client.headWasabi(asset.original?.key ?? "")).toMatchObject({ sizeBytes: asset.sizeBytes });
  expect(await decodingErrors(await client.playbackUrl(asset.fileId, "360p"))).toBe("");
});

test("an original elsewhere in the bucket is copied to its own place, and the upload is left alone", async () => {
  const upload = uploadOf("elsewhere");
  const asset = await distributed("elsewhere");
  expect(asset.original?.key).toBe(originalKeyOf(upload));
  const bytes = await readFile(small);
  expect((await client.getWasabi(originalKeyOf(upload))).equals(bytes)).toBe(true);
  expect((await client.getWasabi("incoming/card 7/A001 + B.mov")).equals(bytes)).toBe(true);
});

test("an original at a URL is brought in, whole, and its address shows nowhere", async () => {
  const upload = uploadOf("url");
  const asset = await distributed("url");
  expect((await client.getWasabi(originalKeyOf(upload))).equals(await readFile(small))).toBe(true);
  const history = await client.history(asset.fileId);
  expect(JSON.stringify({ asset, history })).not.toContain("s3cret");
  for (const name of ["worker", "gpu-runner", "lucid-agent"]) expect(stack.log(name), name).not.toContain("s3cret");
});

test("an original that never came fails its asset within two minutes; uploaded and told again, it is revived", async () => {
  const waitedMs = Date.now() - absentSinceMs;
  const failed = await client.followTo(absent.fileId, "failed", Math.max(1_000, missingTimeoutMs - waitedMs));
  expect(failed.problem).toMatchObject({ code: "ORIGINAL_MISSING" });
  const failedAt = (await client.history(absent.fileId)).find(({ state }) => state === "failed")?.at ?? "";
  expect(Date.parse(failedAt) - absentSinceMs).toBeLessThan(missingTimeoutMs);

  await client.uploadToWasabi(small, originalKeyOf(absent));
  expect((await client.sendWebhook(absent)).status).toBe(200);
  const asset = await client.follow(absent.fileId, ({ state }) => state === "distributed", distributeTimeoutMs);
  expect(asset.problem).toBeNull();
}, 400_000);

test("no secret of the stack is in a log, and no presigned query", async () => {
  const secrets = JSON.parse(await readFile(`${stack.dataDirectory}/secrets.json`, "utf8")) as object;
  const words = JSON.stringify({ ...secrets, tokens: client.stack.tokens }).match(/[A-Za-z0-9_+/=.-]{24,}/g) ?? [];
  expect(words.length).toBeGreaterThan(10);
  for (const name of ["worker", "gpu-runner", "lucid-agent", "app-webhook", "wasabi"]) {
    const log = stack.log(name);
    for (const word of [...words, "X-Amz-Signature="])
      expect(log.includes(word), `${name}: ${word.slice(0, 8)}…`).toBe(false);
  }
  for (const { pid, command } of stack.processes()) {
    for (const word of words) expect(command.join(" ").includes(word), `process ${pid}`).toBe(false);
  }
});

test("at rest nothing is owed, and Ctrl-C leaves no process", async () => {
  await eventually({ what: "rest", timeoutMs: 30_000 }, () => leftovers(stack.dataDirectory).outbox.length === 0);
  expect(await openArchiveUploads(stack.dataDirectory)).toEqual([]);
  expect(await stack.stop()).toEqual([]);
  expect(leftovers(stack.dataDirectory)).toEqual(nothing);
});
