/** One asset's whole happy life, fact by fact: what is seen, what is asked for, what the application is told. */
import { expect, test } from "vitest";
import { edgeKey, editorKey, originalKey, proxyKey } from "../../schemas/key.ts";
import { AssetRun, commandsIn } from "../../test/simulation/asset-run.ts";
import { content, probe, upload } from "../../test/simulation/asset-sample.ts";
import { timersOf } from "./timer.ts";
import type { Transition } from "./transition.ts";
import { viewAsset } from "./view.ts";

const typesOf = (transition: Transition) => transition.effects.map(({ type }) => type);

test("from the webhook to distributed, evicted, and back when a viewer asks", () => {
  const run = new AssetRun();
  const { policy } = run;

  const noticed = run.apply({ type: "UploadNoticed", upload });
  expect(run.status).toBe("received");
  expect(commandsIn(noticed)).toEqual([
    {
      type: "ArchiveOriginal",
      stage: { type: "open" },
      op: 1,
      sourceKey: originalKey(upload),
      key: originalKey(upload),
      sizeBytes: upload.sizeBytes,
      sha256: null,
    },
  ]);
  expect(typesOf(noticed)).toEqual(["ArchiveOriginal", "PublishCatalogue"]);

  const archived = run.apply({
    type: "OriginalArchived",
    op: 1,
    key: originalKey(upload),
    sizeBytes: upload.sizeBytes,
    etag: "original",
    sha256: null,
  });
  expect(run.status).toBe("archived");
  const { jobId } = run.asset.job;
  expect(commandsIn(archived)).toEqual([{ type: "EnqueueTranscode", jobId, generation: 1, priority: 50 }]);
  expect(run.announcements).toEqual(["asset.archived"]);
  if (jobId === null) throw new Error("no job was made");

  const claimed = run.apply({ type: "TranscodeClaimed", generation: 1, runnerId: "one", encoder: "h264_nvenc" });
  expect(run.status).toBe("transcoding");
  expect(commandsIn(claimed)).toEqual([]);
  expect(run.asset.job.lease).toMatchObject({ runnerId: "one", expiresAtMs: run.nowMs + policy.leaseMs });
  const lease = run.asset.job.lease?.token ?? "";
  expect(timersOf(run.asset).map(({ name }) => name)).toEqual(["lease"]);

  run.apply({ type: "SourceProbed", lease, source: probe(720) });
  expect(run.asset.renditions.map(({ quality, state }) => [quality, state])).toEqual([
    ["360p", "encoding"],
    ["540p", "encoding"],
    ["720p", "encoding"],
  ]);

  run.advance(10_000);
  const renewed = run.apply({ type: "LeaseRenewed", lease });
  expect(renewed.effects).toEqual([]);
  expect(run.asset.job.lease?.expiresAtMs).toBe(run.nowMs + policy.leaseMs);

  const qualities = ["360p", "540p", "720p"] as const;
  for (const [serial, quality] of qualities.entries()) {
    const uploadId = `upload-${quality}`;
    const key = proxyKey(upload, quality);
    run.apply({ type: "UploadOpened", lease, quality, key, uploadId, partSizeBytes: 8 * 1024 * 1024 });
    const made = { width: 640, height: 360, frames: 500, durationSeconds: 20, ...content(serial) };
    const uploaded = run.apply({ type: "RenditionUploaded", lease, quality, ...made });
    expect(commandsIn(uploaded)).toEqual([
      { type: "CompleteUpload", op: 1, quality, jobId, key, uploadId, ...content(serial) },
    ]);
    expect(run.status).toBe("transcoding");
  }
  expect(run.asset.job.lease).toBeNull();

  const complete = (quality: (typeof qualities)[number]) =>
    run.apply({
      type: "RenditionArchived",
      quality,
      jobId,
      op: 1,
      etag: `etag-${quality}`,
      sizeBytes: content(qualities.indexOf(quality)).sizeBytes,
    });
  const source = (quality: (typeof qualities)[number]) => ({
    key: proxyKey(upload, quality),
    etag: `etag-${quality}`,
    ...content(qualities.indexOf(quality)),
  });
  const edge = (quality: (typeof qualities)[number], op: number) => ({
    op,
    quality,
    jobId,
    key: edgeKey(jobId, quality),
  });

  expect(commandsIn(complete("540p"))).toEqual([
    { type: "PlaceEdgeCopy", stage: { type: "open" }, rush: false, ...edge("540p", 1), source: source("540p") },
  ]);
  expect(run.status).toBe("transcoding");
  expect(commandsIn(complete("720p"))).toEqual([
    {
      type: "PlaceEditorCopy",
      op: 1,
      quality: "720p",
      jobId,
      key: editorKey(upload, "720p"),
      source: source("720p"),
    },
  ]);
  expect(commandsIn(complete("360p"))).toEqual([
    { type: "PlaceEdgeCopy", stage: { type: "open" }, rush: false, ...edge("360p", 1), source: source("360p") },
  ]);
  expect(run.status).toBe("distributing");
  expect(run.announcements).toEqual(["asset.archived", "asset.encoded"]);

  const place = (tier: "r2" | "lucidlink", quality: (typeof qualities)[number], op: number) =>
    run.apply({
      type: "CopyPlaced",
      tier,
      quality,
      jobId,
      op,
      etag: "copy",
      ...content(qualities.indexOf(quality)),
    });
  place("r2", "360p", 1);
  run.apply({ type: "StepBegan", step: { kind: "copy", tier: "lucidlink", quality: "720p" }, op: 1 });
  place("lucidlink", "720p", 1);
  expect(run.status).toBe("distributing");
  place("r2", "540p", 1);
  expect(run.status).toBe("distributed");
  expect(timersOf(run.asset)).toEqual([]);
  expect(run.announcements).toEqual(["asset.archived", "asset.encoded", "asset.distributed"]);

  const dayMs = 24 * 60 * 60 * 1000;
  run.advance(29 * dayMs);
  expect(run.apply({ type: "RetentionElapsed", quality: "360p" }).verdict).toBe("ignored");
  run.apply({ type: "ProxyAccessed", tier: "r2", quality: "360p", jobId });
  run.advance(dayMs);
  expect(run.apply({ type: "RetentionElapsed", quality: "360p" }).verdict).toBe("ignored");
  expect(commandsIn(run.apply({ type: "RetentionElapsed", quality: "540p" }))).toEqual([
    { type: "RemoveEdgeCopy", ...edge("540p", 2), archive: source("540p"), keepIfPinned: true },
  ]);
  run.apply({ type: "CopyRemoved", tier: "r2", quality: "540p", jobId, op: 2 });
  expect(run.status).toBe("distributed");
  run.advance(29 * dayMs);
  run.apply({ type: "RetentionElapsed", quality: "360p" });
  expect(run.status).toBe("distributed");
  run.apply({ type: "CopyRemoved", tier: "r2", quality: "360p", jobId, op: 2 });
  expect(run.status).toBe("evicted");
  expect(timersOf(run.asset)).toEqual([]);

  expect(commandsIn(run.apply({ type: "ProxyRequested", quality: "360p", jobId }))).toEqual([
    { type: "PlaceEdgeCopy", stage: { type: "open" }, rush: true, ...edge("360p", 3), source: source("360p") },
  ]);
  expect(run.status).toBe("distributing");
  place("r2", "360p", 3);
  expect(run.status).toBe("distributed");
  expect(run.announcements.slice(3)).toEqual(["asset.evicted", "asset.restored"]);

  expect(commandsIn(run.apply({ type: "ProxyRequested", quality: "720p", jobId }))).toEqual([
    { type: "PlaceEdgeCopy", stage: { type: "open" }, rush: true, ...edge("720p", 1), source: source("720p") },
  ]);
  place("r2", "720p", 1);
  expect(run.status).toBe("distributed");
  expect(run.announcements).toHaveLength(5);
});

test("an upload that lies at a URL is ingested, one elsewhere in the bucket is archived from there", () => {
  const fromUrl = new AssetRun();
  const url = "https://uploads.example/a.mov";
  expect(
    commandsIn(fromUrl.apply({ type: "UploadNoticed", upload: { ...upload, source: { kind: "url", url } } })),
  ).toMatchObject([{ type: "IngestOriginal", url, key: originalKey(upload) }]);
  const elsewhere = new AssetRun();
  const moved = { ...upload, source: { kind: "wasabi" as const, key: "incoming/a.mov" } };
  expect(commandsIn(elsewhere.apply({ type: "UploadNoticed", upload: moved }))).toMatchObject([
    { type: "ArchiveOriginal", sourceKey: "incoming/a.mov", key: originalKey(upload) },
  ]);
});

/** One whose original is archived, and whose renditions are being encoded. */
function encodingRun(height: Parameters<typeof probe>[0]) {
  const run = new AssetRun();
  run.apply({ type: "UploadNoticed", upload });
  run.apply({
    type: "OriginalArchived",
    op: 1,
    key: originalKey(upload),
    sizeBytes: upload.sizeBytes,
    etag: "original",
    sha256: null,
  });
  run.apply({ type: "TranscodeClaimed", generation: 1, runnerId: "one", encoder: "libx264" });
  const lease = run.asset.job.lease?.token ?? "";
  run.apply({ type: "SourceProbed", lease, source: probe(height) });
  return { run, lease };
}

test("a source below the lowest rung gets one rendition, on both tiers", () => {
  const { run, lease } = encodingRun(240);
  const key = proxyKey(upload, "360p");
  run.apply({ type: "UploadOpened", lease, quality: "360p", key, uploadId: "u", partSizeBytes: 8 * 1024 * 1024 });
  const made = { width: 426, height: 240, frames: 500, durationSeconds: 20, ...content(1) };
  run.apply({ type: "RenditionUploaded", lease, quality: "360p", ...made });
  const jobId = run.asset.job.jobId ?? "";
  const archived = run.apply({
    type: "RenditionArchived",
    quality: "360p",
    jobId,
    op: 1,
    etag: "e",
    sizeBytes: content(1).sizeBytes,
  });
  expect(commandsIn(archived).map(({ type }) => type)).toEqual(["PlaceEdgeCopy", "PlaceEditorCopy"]);
});

test("damage that the holder finds while it encodes is the source's, and holds nothing up", () => {
  const { run, lease } = encodingRun(720);
  const before = run.asset.renditions.map(({ quality, state }) => [quality, state]);
  const damage = [{ fromSeconds: 1, toSeconds: 2.5, what: "picture" as const }];
  run.apply({ type: "SourceProbed", lease, source: { ...probe(720), damage } });
  expect(run.asset.renditions.map(({ quality, state }) => [quality, state])).toEqual(before);
  const view = viewAsset(run.asset, 1, run.policy, null);
  expect(view.source?.damage).toEqual(damage);
  expect(view.problem).toMatchObject({
    ...{ step: "source", code: "SOURCE_DAMAGED", retryable: false, nextAttemptAt: null },
    message: "The original is damaged: 1.5 s of picture at 0:01 cannot be decoded.",
  });
});

test("a source whose rate rises is planned once more, and what is being encoded follows", () => {
  const { run, lease } = encodingRun(360);
  const key = proxyKey(upload, "360p");
  run.apply({ type: "UploadOpened", lease, quality: "360p", key, uploadId: "u", partSizeBytes: 8 * 1024 * 1024 });
  const source = { ...probe(360), fps: { num: 50, den: 1 }, vfr: true };
  expect(commandsIn(run.apply({ type: "SourceProbed", lease, source }))).toEqual([]);
  expect(run.asset.renditions).toMatchObject([
    { state: "encoding", upload: { uploadId: "u" }, plan: { fps: { num: 50, den: 1 } } },
  ]);
});
