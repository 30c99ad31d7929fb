/** Facts that come twice, late or from the wrong party: none of them changes anything. */
import { describe, expect, test } from "vitest";
import type { AssetEvent } from "../../schemas/event.ts";
import { originalKey } from "../../schemas/key.ts";
import { content, upload } from "../../test/simulation/asset-sample.ts";
import { reach } from "../../test/simulation/reach.ts";
import type { World } from "../../test/simulation/world.ts";

const archiveStep = { kind: "archive" } as const;

const placedOf = (jobId: string, op: number, serial: number): AssetEvent => ({
  type: "CopyPlaced",
  tier: "r2",
  quality: "360p",
  jobId,
  op,
  etag: null,
  ...content(serial),
});

describe("facts out of their time change nothing", () => {
  const stale: [state: Parameters<typeof reach>[0], event: (world: World) => AssetEvent][] = [
    ["received", () => ({ type: "UploadNoticed", upload })],
    ["received", () => ({ type: "TranscodeClaimed", generation: 1, runnerId: "one", encoder: "libx264" })],
    ["received", () => ({ type: "StepFailed", step: archiveStep, op: 2, code: "SIZE_MISMATCH", message: "late" })],
    ["received", ({ run }) => ({ type: "StepOverdue", step: archiveStep, op: run.asset.job.archive.op })],
    ["archived", () => ({ type: "TranscodeClaimed", generation: 2, runnerId: "one", encoder: "libx264" })],
    ["archived", () => ({ type: "StepFailed", step: archiveStep, op: 1, code: "SIZE_MISMATCH", message: "late" })],
    [
      "archived",
      () => ({
        type: "OriginalArchived",
        op: 1,
        key: originalKey(upload),
        sizeBytes: upload.sizeBytes,
        etag: "x",
        sha256: null,
      }),
    ],
    ["transcoding", () => ({ type: "TranscodeClaimed", generation: 1, runnerId: "two", encoder: "libx264" })],
    ["transcoding", () => ({ type: "LeaseRenewed", lease: "of-somebody-else-entirely" })],
    ["transcoding", () => ({ type: "LeaseReleased", lease: "of-somebody-else-entirely", reason: "late" })],
    ["transcoding", () => ({ type: "LeaseExpired", generation: 1 })],
    ["transcoding", () => ({ type: "LeaseExpired", generation: 7 })],
    ["distributed", () => ({ type: "UploadNoticed", upload })],
    ["distributed", () => ({ type: "CancelRequested" })],
    ["distributed", () => ({ type: "UndeleteRequested" })],
    ["distributed", () => ({ type: "GraceElapsed" })],
    ["distributed", () => ({ type: "RetentionElapsed", quality: "360p" })],
    ["distributed", () => ({ type: "RetentionElapsed", quality: "2160p" })],
    ["distributed", () => ({ type: "ArchiveLost", quality: "360p", jobId: "f".repeat(24), message: "another job's" })],
    ["distributed", () => ({ type: "ProxyRequested", quality: "360p", jobId: "f".repeat(24) })],
    ["distributed", ({ run }) => placedOf(run.asset.job.jobId ?? "", 1, 1)],
  ];
  test.each(stale.map(([state, eventOf]) => ({ state, eventOf, type: eventOf(reach(state)).type })))(
    "$type in $state",
    ({ state, eventOf }) => {
      const world = reach(state);
      expect(world.run.apply(eventOf(world)).verdict).toBe("ignored");
    },
  );

  test("an upload that contradicts the known one is a conflict, each field named", () => {
    const world = reach("distributed");
    const other = { ...upload, sizeBytes: 7, clientName: "other" };
    const { verdict, errors } = world.run.apply({ type: "UploadNoticed", upload: other });
    expect(verdict).toBe("conflict");
    expect(errors.map(({ path }) => path)).toEqual(["data.clientName", "data.sizeBytes"]);
  });
});
