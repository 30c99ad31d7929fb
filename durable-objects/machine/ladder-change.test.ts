/** What becomes of renditions when the ladder is not what it was at the attempt before. */
import { expect, test } from "vitest";
import { originalKey, proxyKey } from "../../schemas/key.ts";
import { Policy } from "../../schemas/policy.ts";
import { AssetRun } from "../../test/simulation/asset-run.ts";
import { content, probe, upload } from "../../test/simulation/asset-sample.ts";

function claim(run: AssetRun): string {
  const { generation } = run.asset.job;
  run.apply({ type: "TranscodeClaimed", generation, runnerId: "a", encoder: "x264" });
  return run.asset.job.lease?.token ?? "";
}

test("a rung that left the ladder before it was made is not waited for", () => {
  const first = new AssetRun();
  first.apply({ type: "UploadNoticed", upload });
  const { sizeBytes, etag } = { sizeBytes: upload.sizeBytes, etag: "e".repeat(32) };
  first.apply({ type: "OriginalArchived", op: 1, key: originalKey(upload), sizeBytes, etag, sha256: null });
  first.apply({ type: "SourceProbed", lease: claim(first), source: probe(720) });
  expect(first.asset.renditions.map(({ quality }) => quality)).toEqual(["360p", "540p", "720p"]);
  first.fireTimer("lease");

  const { ladder } = first.policy;
  const shorter = new AssetRun(Policy.parse({ ladder: { ...ladder, rungs: ladder.rungs.slice(0, 1) } }));
  shorter.state = first.asset;
  shorter.nowMs = first.nowMs;
  const lease = claim(shorter);
  shorter.apply({ type: "SourceProbed", lease, source: probe(720) });
  expect(shorter.asset.renditions.map(({ quality }) => quality)).toEqual(["360p"]);

  const made = content(1);
  const key = proxyKey(upload, "360p");
  const opened = { lease, quality: "360p", key, uploadId: "u1", partSizeBytes: 8_388_608 } as const;
  shorter.apply({ type: "UploadOpened", ...opened });
  const facts = { width: 640, height: 360, frames: 10, durationSeconds: 1, ...made };
  shorter.apply({ type: "RenditionUploaded", lease, quality: "360p", ...facts });
  const { op } = shorter.asset.renditions[0]?.step ?? { op: 0 };
  const jobId = shorter.asset.renditions[0]?.jobId ?? "";
  shorter.apply({ type: "RenditionArchived", quality: "360p", jobId, op, etag, sizeBytes: made.sizeBytes });
  expect(shorter.asset.job.state).toBe("encoded");
});
