/** A film with sound goes through everything: every copy lies where it should and plays as the source does; and the doors. */
import { createHash } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { SignJWT } from "jose";
import { afterAll, beforeAll, expect, test } from "vitest";
import WebSocket from "ws";
import { archiveKeys, openArchiveUploads } from "../../dev/archive-state.ts";
import { compositeSha256 } from "../../dev/composite-checksum.ts";
import { eventually } from "../../dev/eventually.ts";
import { edgeKeys, leftovers, nothing } from "../../dev/persisted-state.ts";
import type { Asset, HistoryEntry } from "./asset-document.ts";
import { ClipFolder } from "./media-clip.ts";
import { boxesOf, decodingErrors, type MediaFacts, probeMedia } from "./media-file.ts";
import {
  newFileId,
  originalKeyOf,
  type PipelineClient,
  problemOf,
  proxyKeyOf,
  type Upload,
} from "./pipeline-client.ts";
import { StackProcess } from "./stack-process.ts";
import type { StatusSocket } from "./status-socket.ts";

const qualities = ["360p", "540p", "720p", "1080p"];
const onEdge = ["360p", "540p"];
const sizes: Record<string, [width: number, height: number]> = {
  "360p": [640, 360],
  "540p": [960, 540],
  "720p": [1280, 720],
  "1080p": [1920, 1080],
};
const distributeTimeoutMs = 150_000;

let stack: StackProcess;
let clips: ClipFolder;
let client: PipelineClient;
let film: string;
let source: MediaFacts;
let upload: Upload;
let everything: StatusSocket;
let otherClients: StatusSocket;
let asset: Asset;
let history: HistoryEntry[];

beforeAll(async () => {
  [clips, stack] = await Promise.all([ClipFolder.make(), StackProcess.start()]);
  client = await stack.client();
  // Grain makes it larger than one part, so that it goes up as a multipart upload.
  film = await clips.clip({ width: 1920, height: 1080, seconds: 2, fps: 24, grain: 3 });
  source = await probeMedia(film);
  everything = client.watchMany({ client: "acme" });
  otherClients = client.watchMany({ client: "globex" });
  upload = await client.ingest(film, { fileName: "A001_C004.mov" });
  asset = await client.followTo(upload.fileId, "distributed", distributeTimeoutMs);
  // Before anything is played: to play what only Wasabi holds brings it to R2, which is history too.
  history = await client.history(upload.fileId);
}, 240_000);

afterAll(async () => {
  everything?.close();
  otherClients?.close();
  await stack?.destroy();
  await clips?.remove();
});

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
const problemCodeOf = async (response: Response) => ((await response.json()) as { code: string }).code;

test("the original stays where it was uploaded, and is known by its size and ETag", async () => {
  const head = await client.headWasabi(originalKeyOf(upload));
  expect(head?.sizeBytes).toBe((await stat(film)).size);
  expect(asset.original).toMatchObject({ tier: "wasabi", key: originalKeyOf(upload), ...head });
  expect(asset.problem).toBeNull();
});

test("what the runner read of it is in the ledger of egress, once", async () => {
  const told = history.flatMap(({ event, detail }) =>
    event === "RenditionUploaded" ? [Number((detail as { sourceBytes?: number }).sourceBytes)] : [],
  );
  expect(told).toHaveLength(qualities.length);
  expect(Math.max(...told)).toBeGreaterThanOrEqual(upload.sizeBytes);
  const { admin } = client.stack.tokens;
  const encode = await eventually({ what: "the reads in the ledger", timeoutMs: 30_000 }, async () => {
    const { body } = await client.request("GET", "/v1/admin/egress", { token: admin });
    const { encode } = (body as { measured: { encode: number } }).measured;
    // Told in several messages: the sum grows until the last of them is counted.
    return encode >= Math.max(...told) && encode;
  });
  expect(encode).toBe(Math.max(...told));
});

test("each rendition is a plain faststart MP4 in Wasabi, as long and with as many frames as the source", async () => {
  expect(asset.renditions.map(({ quality }) => quality).sort()).toEqual([...qualities].sort());
  for (const rendition of asset.renditions) {
    const { quality } = rendition;
    const bytes = await client.getWasabi(proxyKeyOf(asset, quality));
    expect(rendition.sizeBytes, quality).toBe(bytes.length);

    const types = boxesOf(bytes).map(({ type }) => type);
    expect(types, quality).not.toContain("moof");
    expect(types.indexOf("moov"), quality).toBeGreaterThan(-1);
    expect(types.indexOf("moov"), quality).toBeLessThan(types.indexOf("mdat"));

    const facts = await probeMedia(await clips.write(`${quality}.mp4`, bytes));
    const [width, height] = sizes[quality] ?? [0, 0];
    expect(facts.video, quality).toMatchObject({ codec: "h264", width, height, frames: source.video.frames });
    expect(facts.video.durationSeconds, quality).toBeCloseTo(source.video.durationSeconds, 2);
    expect(facts.audio?.codec, quality).toBe("aac");
    // Sound comes in frames of 1024 samples: the last one may reach past the end.
    expect(Math.abs((facts.audio?.durationSeconds ?? 0) - source.durationSeconds), quality).toBeLessThan(0.05);
    const { partSizeBytes = 1, composite } = rendition.sha256 ?? {};
    expect(compositeSha256(bytes, partSizeBytes), quality).toBe(composite);
    expect(rendition, quality).toMatchObject({ width, height, frames: source.video.frames, status: "archived" });
  }
});

test("R2 holds 360p and 540p and nothing else; Wasabi the original and the four renditions and nothing else", async () => {
  const inEdge = onEdge.map((quality) => `proxies/${asset.jobId}/${quality}.mp4`);
  expect(edgeKeys(stack.dataDirectory)).toEqual(inEdge);
  const inArchive = [originalKeyOf(upload), ...qualities.map((quality) => proxyKeyOf(asset, quality))];
  expect((await archiveKeys(stack.dataDirectory)).sort()).toEqual(inArchive.sort());
});

test("the highest rendition lies in the LucidLink tree, byte for byte, and nothing else does", async () => {
  const path = `Clients/acme/launch-film/${asset.fileId}_1080p.mp4`;
  expect(await client.lucidLinkFiles()).toEqual([path]);
  const placed = await readFile(join(client.stack.lucidlink.root, path));
  expect(sha256(placed)).toBe(sha256(await client.getWasabi(proxyKeyOf(asset, "1080p"))));
});

test("the asset says where each copy lies", () => {
  const placed = asset.renditions.flatMap(({ quality, copies }) =>
    copies.filter(({ status }) => status === "placed").map(({ tier, key }) => `${quality} ${tier} ${key}`),
  );
  expect(placed.sort()).toEqual(
    [
      ...qualities.map((quality) => `${quality} wasabi ${proxyKeyOf(asset, quality)}`),
      `360p r2 proxies/${asset.jobId}/360p.mp4`,
      `540p r2 proxies/${asset.jobId}/540p.mp4`,
      `1080p lucidlink /Clients/acme/launch-film/${asset.fileId}_1080p.mp4`,
    ].sort(),
  );
});

test("each rendition plays through its delivery URL: whole, by range, and decoded without an error", async () => {
  for (const quality of qualities) {
    const archived = await client.getWasabi(proxyKeyOf(asset, quality));
    const url = await client.playbackUrl(asset.fileId, quality);
    const whole = await fetch(url);
    expect(whole.status, quality).toBe(200);
    expect(whole.headers.get("content-type"), quality).toBe("video/mp4");
    expect(whole.headers.get("accept-ranges"), quality).toBe("bytes");
    expect(whole.headers.get("x-served-from"), quality).toBe(onEdge.includes(quality) ? "r2" : "wasabi");
    expect(sha256(new Uint8Array(await whole.arrayBuffer())), quality).toBe(sha256(archived));
    expect(await decodingErrors(url), quality).toBe("");

    const size = archived.length;
    for (const [range, from, to] of [
      ["bytes=0-99", 0, 99],
      [`bytes=${size - 1000}-`, size - 1000, size - 1],
      ["bytes=-500", size - 500, size - 1],
      [`bytes=1000-${size + 5000}`, 1000, size - 1],
    ] as const) {
      const part = await fetch(url, { headers: { range } });
      expect(part.status, `${quality} ${range}`).toBe(206);
      expect(part.headers.get("content-range")).toBe(`bytes ${from}-${to}/${size}`);
      expect(Buffer.from(await part.arrayBuffer()).equals(archived.subarray(from, to + 1)), range).toBe(true);
    }
  }
});

test("what was played from Wasabi is on R2 soon after, and serves the same bytes from there", async () => {
  const url = await client.playbackUrl(asset.fileId, "720p");
  const fromEdge = await eventually({ what: "720p from R2", timeoutMs: 60_000 }, async () => {
    const response = await fetch(url);
    const bytes = new Uint8Array(await response.arrayBuffer());
    return response.headers.get("x-served-from") === "r2" && bytes;
  });
  expect(sha256(fromEdge)).toBe(sha256(await client.getWasabi(proxyKeyOf(asset, "720p"))));
});

test("delivery answers HEAD, conditional and impossible requests as HTTP says", async () => {
  const url = await client.playbackUrl(asset.fileId, "360p");
  const { sizeBytes } = asset.renditions.find(({ quality }) => quality === "360p") ?? {};
  const head = await fetch(url, { method: "HEAD" });
  expect([head.status, head.headers.get("content-length")]).toEqual([200, String(sizeBytes)]);
  const etag = head.headers.get("etag") ?? "";
  expect(etag).toMatch(/^".+"$/);
  const unchanged = await fetch(url, { headers: { "if-none-match": etag } });
  expect([unchanged.status, await unchanged.text()]).toEqual([304, ""]);
  const beyond = await fetch(url, { headers: { range: `bytes=${sizeBytes}-` } });
  expect([beyond.status, beyond.headers.get("content-range")]).toEqual([416, `bytes */${sizeBytes}`]);
  await beyond.arrayBuffer();
});

test("a delivery URL opens only what was signed", async () => {
  const url = new URL(await client.playbackUrl(asset.fileId, "360p"));
  const changed = (change: (copy: URL) => void) => {
    const copy = new URL(url);
    change(copy);
    return copy;
  };
  const forgeries = [
    changed((copy) => copy.searchParams.set("exp", String(Number(copy.searchParams.get("exp")) + 60))),
    changed((copy) => copy.searchParams.delete("sig")),
    changed((copy) => {
      copy.pathname = copy.pathname.replace("360p", "1080p");
    }),
    changed((copy) => copy.searchParams.set("asset", newFileId())),
  ];
  for (const forgery of forgeries) {
    const response = await fetch(forgery);
    expect(response.status, forgery.pathname + forgery.search.replace(/sig=[^&]+/, "sig=…")).toBe(403);
    await response.arrayBuffer();
  }
});

test("the history tells every step once, in order", () => {
  const revisions = history.map(({ revision }) => revision);
  expect(revisions).toEqual([...new Set(revisions)].sort((a, b) => a - b));
  const times = history.map(({ at }) => Date.parse(at));
  expect(times).toEqual([...times].sort((a, b) => a - b));

  const count = (event: string) => history.filter((entry) => entry.event === event).length;
  expect(count("UploadNoticed")).toBe(1);
  expect(count("OriginalArchived")).toBe(1);
  expect(count("TranscodeClaimed")).toBe(1);
  expect(count("SourceProbed")).toBe(1);
  expect(count("RenditionUploaded")).toBe(4);
  expect(count("RenditionArchived")).toBe(4);
  expect(history.filter(({ event }) => /Failed|Deferred|Expired|Released|Overdue/.test(event))).toEqual([]);

  const states = history.map(({ state }) => state).filter((state, index, all) => state !== all[index - 1]);
  // Each rendition is placed as soon as it is archived: when the last one needs no copy, nothing is left to distribute.
  expect(states.join(" ")).toMatch(/^received archived transcoding( distributing)? distributed$/);
});

test("the application's database gets one call per phase", async () => {
  const calls = await eventually({ what: "three calls", timeoutMs: 30_000 }, async () => {
    const soFar = await client.appCalls(asset.fileId);
    return soFar.length >= 3 && soFar;
  });
  expect(calls.map(({ body }) => body.type).sort()).toEqual(["asset.archived", "asset.distributed", "asset.encoded"]);
  expect(new Set(calls.map(({ id }) => id)).size).toBe(3);
  const told = (type: string) => calls.find(({ body }) => body.type === type)?.body.data.asset;
  expect(told("asset.archived")?.revision).toBeLessThan(told("asset.encoded")?.revision ?? 0);
  // One decision may end both phases.
  expect(told("asset.encoded")?.revision).toBeLessThanOrEqual(told("asset.distributed")?.revision ?? 0);
  expect(told("asset.distributed")).toMatchObject({ fileId: asset.fileId, state: "distributed", problem: null });
});

test("the list finds the asset by client, project, state and name", async () => {
  const found = await eventually({ what: "the list", timeoutMs: 30_000 }, async () => {
    const rows = await client.list({ client: "acme", project: "launch-film", state: "distributed", q: "a001_c004" });
    return rows.length > 0 && rows;
  });
  expect(found).toMatchObject([{ fileId: asset.fileId, fileName: "A001_C004.mov", problemCode: null }]);
  expect(await client.list({ client: "globex" })).toEqual([]);
});

test("the feed of many assets told of it, live, and only to those who watch its client", async () => {
  const progress = everything.frames.filter((frame) => frame.type === "progress");
  expect(progress.length).toBeGreaterThan(0);
  const states = () =>
    everything.frames.flatMap((frame) => (frame.type === "asset" ? [(frame.asset as Asset).state] : []));
  await expect.poll(() => states().at(-1), { timeout: 30_000 }).toBe("distributed");
  expect(otherClients.frames).toEqual([]);
});

test("a ticket opens one socket, once", async () => {
  const url = `${client.stack.api.replace(/^http/, "ws")}/v1/assets/${asset.fileId}/status?ticket=${await client.ticket()}`;
  const outcome = (socket: WebSocket) =>
    new Promise<string>((resolve) => {
      socket.once("message", (text) => resolve((JSON.parse(String(text)) as { type: string }).type));
      socket.once("unexpected-response", (_request, response) => resolve(String(response.statusCode)));
      socket.once("error", (error) => resolve(error.message));
    });
  const first = new WebSocket(url);
  expect(await outcome(first)).toBe("snapshot");
  first.terminate();
  const second = new WebSocket(url);
  expect(await outcome(second)).toBe("401");
  second.terminate();
});

test("the same webhook again, by the same id or another, answers 200 and changes nothing", async () => {
  const before = await client.asset(upload.fileId);
  const id = "msg_sent_twice_by_a_nervous_client";
  for (const options of [{ id }, { id }, {}]) {
    const answer = await client.sendWebhook(upload, options);
    expect(answer).toMatchObject({ status: 200, body: { fileId: upload.fileId, state: before.state } });
  }
  const after = await client.asset(upload.fileId);
  expect([after.revision, after.jobId]).toEqual([before.revision, before.jobId]);
});

test("a webhook that contradicts what is known answers 409 and names the field", async () => {
  const contradictions: [path: string, change: Partial<Upload>][] = [
    ["sizeBytes", { sizeBytes: upload.sizeBytes + 1 }],
    ["clientName", { clientName: "globex" }],
    ["projectName", { projectName: "other-film" }],
    ["fileName", { fileName: "A002.mov" }],
  ];
  for (const [path, change] of contradictions) {
    // Elsewhere in the bucket, so that it is the contradiction that is refused and not the key.
    const source = { kind: "wasabi", key: "incoming/A001.mov" };
    const problem = problemOf(await client.sendWebhook({ ...upload, source, ...change }), 409);
    expect(problem.code).toBe("CONFLICT");
    expect(problem.errors?.map((error) => error.path)).toEqual([expect.stringContaining(path)]);
  }
  expect(await client.asset(upload.fileId)).toMatchObject({ sizeBytes: upload.sizeBytes, clientName: "acme" });
});

test("a webhook with a wrong signature or an old one answers 401 and makes no asset", async () => {
  const forged = { ...upload, fileId: newFileId(), source: { kind: "wasabi", key: "incoming/A001.mov" } };
  const secret = `whsec_${Buffer.from("somebody else's secret, 32 bytes").toString("base64")}`;
  expect(problemOf(await client.sendWebhook(forged, { secret }), 401).code).toBe("BAD_SIGNATURE");
  const sentAt = new Date(Date.now() - 10 * 60_000);
  expect(problemOf(await client.sendWebhook(forged, { sentAt }), 401).code).toBe("BAD_SIGNATURE");
  const answer = await client.request("GET", `/v1/assets/${forged.fileId}`, { token: client.stack.tokens.viewer });
  expect(answer.status).toBe(404);
});

test("a webhook with bad fields answers 400 and names each of them", async () => {
  const fileId = newFileId();
  const answer = await client.sendWebhook({ ...upload, fileId, clientName: "Acme Inc", sizeBytes: -1 });
  const problem = problemOf(answer, 400);
  const fields = new Set(problem.errors?.map(({ path }) => path));
  expect([...fields].sort()).toEqual(["data.clientName", "data.sizeBytes"]);
});

test("without a token 401, with a machine's token 403, with another client's token 404", async () => {
  const path = `/v1/assets/${upload.fileId}`;
  expect(problemOf(await client.request("GET", path), 401).code).toBe("UNAUTHENTICATED");
  const forged = `${client.stack.tokens.viewer.slice(0, -4)}AAAA`;
  expect(problemOf(await client.request("GET", path, { token: forged }), 401).code).toBe("UNAUTHENTICATED");
  expect(problemOf(await client.request("GET", path, { token: client.stack.tokens.runner }), 403).code).toBe(
    "FORBIDDEN",
  );

  const token = await viewerOf("globex");
  for (const tail of ["", "/history"]) {
    expect(problemOf(await client.request("GET", path + tail, { token }), 404).code).toBe("NOT_FOUND");
  }
  expect(problemOf(await client.request("POST", `${path}/playback`, { token, body: {} }), 404).code).toBe("NOT_FOUND");
  expect(await client.request("GET", "/v1/assets", { token })).toMatchObject({ status: 200, body: { assets: [] } });
});

test("a render node gets ranges of the original straight from Wasabi, a viewer does not", async () => {
  const path = `/v1/assets/${upload.fileId}/original/access`;
  const { tokens } = client.stack;
  expect((await client.request("POST", path, { token: tokens.viewer, body: {} })).status).toBe(403);
  const answer = await client.request("POST", path, { token: tokens.render, body: {} });
  expect(answer).toMatchObject({ status: 200, body: { sizeBytes: upload.sizeBytes } });
  const part = await fetch((answer.body as { url: string }).url, { headers: { range: "bytes=1000-1999" } });
  expect(part.status).toBe(206);
  const original = await readFile(film);
  expect(Buffer.from(await part.arrayBuffer()).equals(original.subarray(1000, 2000))).toBe(true);
});

test("an address that is not there answers 404 as problem+json, without a stack", async () => {
  const response = await fetch(`${client.stack.api}/v1/nothing`);
  expect(response.headers.get("content-type")).toContain("application/problem+json");
  expect([response.status, await problemCodeOf(response)]).toEqual([404, "NOT_FOUND"]);
});

test("at rest nothing is owed, and Ctrl-C leaves no process", async () => {
  await eventually({ what: "rest", timeoutMs: 30_000 }, async () => {
    const { state } = await client.asset(asset.fileId);
    const left = leftovers(stack.dataDirectory);
    return state === "distributed" && left.outbox.length === 0 && left.timers.length === 0;
  });
  expect(await openArchiveUploads(stack.dataDirectory)).toEqual([]);
  expect(await stack.stop()).toEqual([]);
  expect(leftovers(stack.dataDirectory)).toEqual(nothing);
});

/** A token for one client only, signed as the deployment's own identity provider would. */
async function viewerOf(clientName: string): Promise<string> {
  const text = await readFile(join(stack.dataDirectory, "secrets.json"), "utf8");
  const { jwtKeys } = JSON.parse(text) as { jwtKeys: Record<string, string> };
  const [kid, secret] = Object.entries(jwtKeys)[0] ?? ["", ""];
  return await new SignJWT({ role: "viewer", clients: [clientName] })
    .setProtectedHeader({ alg: "HS256", kid })
    .setSubject("a-viewer")
    .setExpirationTime("5m")
    .sign(Buffer.from(secret, "base64url"));
}
