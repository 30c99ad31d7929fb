/** What the runner found not to decode: seen under the source and as a problem that stops nothing. */
import { expect, test } from "vitest";
import { loadAssetState } from "../../schemas/asset-state.ts";
import { originalKey, proxyKey } from "../../schemas/key.ts";
import type { DamagedStretch } from "../../schemas/source-damage.ts";
import { AssetRun } from "../../test/simulation/asset-run.ts";
import { content, probe, upload } from "../../test/simulation/asset-sample.ts";
import { viewAsset } from "./view.ts";

const hole: DamagedStretch = { fromSeconds: 1, toSeconds: 2.5, what: "picture", missingSeconds: 1.5 };

/** An asset of one rendition, uploaded by a runner that says this of its source. */
function uploaded(damage?: DamagedStretch[], run = new AssetRun()): AssetRun {
  if (run.state === null) {
    run.apply({ type: "UploadNoticed", upload });
    const { sizeBytes } = upload;
    run.apply({ type: "OriginalArchived", op: 1, key: originalKey(upload), sizeBytes, etag: "o", sha256: null });
  }
  const { generation } = run.asset.job;
  run.apply({ type: "TranscodeClaimed", generation, runnerId: "one", encoder: "libx264" });
  const lease = run.asset.job.lease?.token ?? "";
  run.apply({ type: "SourceProbed", lease, source: probe(240) });
  const key = proxyKey(upload, "360p");
  run.apply({ type: "UploadOpened", lease, quality: "360p", key, uploadId: "u", partSizeBytes: 8 * 1024 * 1024 });
  const made = { width: 426, height: 240, frames: 500, durationSeconds: 20, ...content(1) };
  const told = damage === undefined ? {} : { damage };
  run.apply({ type: "RenditionUploaded", lease, quality: "360p", ...made, ...told });
  return run;
}

const seen = (run: AssetRun) => viewAsset(run.asset, 7, run.policy, null);

test("is shown under the source, with a problem that nobody has to wait for and that fails nothing", () => {
  const run = uploaded([hole]);
  const asset = seen(run);
  expect(asset.source?.damage).toEqual([hole]);
  expect(asset.problem).toMatchObject({
    step: "source",
    code: "SOURCE_DAMAGED",
    retryable: false,
    nextAttemptAt: null,
  });
  expect(asset.problem?.message).toContain("seconds of the picture do not decode (1–2.5 s)");
  const jobId = run.asset.job.jobId ?? "";
  const { sizeBytes } = content(1);
  run.apply({ type: "RenditionArchived", quality: "360p", jobId, op: 1, etag: "e", sizeBytes });
  expect(run.status).toBe("distributing");
  expect(seen(run).problem?.code).toBe("SOURCE_DAMAGED");
});

test("is not stored of a whole source, nor where the runner does not look for it", () => {
  for (const run of [uploaded([]), uploaded()]) {
    expect(run.asset).not.toHaveProperty("damage");
    expect(seen(run).source).not.toHaveProperty("damage");
    expect(seen(run).problem).toBeNull();
  }
});

test("any other problem comes before it", () => {
  const run = uploaded([hole]);
  const step = { kind: "complete", quality: "360p" } as const;
  run.apply({
    type: "StepDeferred",
    ...{ step, op: 1, code: "WASABI_UNAVAILABLE", message: "503", retryAfterMs: null },
  });
  expect(seen(run).problem?.code).toBe("WASABI_UNAVAILABLE");
});

test("another encode of the same source says it anew; it keeps since when it is known", () => {
  const run = uploaded([hole]);
  const since = seen(run).problem?.since;
  const { sizeBytes } = content(1);
  const again = (damage?: DamagedStretch[]) => {
    const { jobId = "", step } = run.asset.renditions[0] ?? {};
    run.apply({ type: "RenditionArchived", quality: "360p", jobId, op: step?.op ?? 0, etag: "e", sizeBytes });
    run.apply({ type: "ArchiveLost", quality: "360p", jobId, message: "gone" });
    run.advance(60_000);
    return uploaded(damage, run);
  };
  const other: DamagedStretch = { ...hole, what: "sound" };
  expect(seen(again([other])).source?.damage).toEqual([other]);
  expect(run.asset.damage?.sinceAtMs).toBe(Date.parse(since ?? ""));
  expect(seen(again()).source?.damage).toEqual([other]);
  expect(seen(again([])).source).not.toHaveProperty("damage");
});

test("a document of before, without it, loads, and one with it does", () => {
  const { asset } = uploaded([hole]);
  expect(loadAssetState(JSON.stringify(asset))).toEqual(asset);
  const { damage, ...before } = asset;
  expect(damage?.stretches).toEqual([hole]);
  expect(loadAssetState(JSON.stringify(before))).toEqual(before);
});
