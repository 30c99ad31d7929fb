/**
 * The Asset object under arbitrary sequences of facts: right and stale ones, told once or twice, in any order, with alarms
 * and restarts in between. Whatever happens, what it has stored fits together, and nothing is waited for unwatched.
 */
import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { StoredAsset } from "../schemas/asset-state.ts";
import type { AssetEvent, EventEnvelope, UploadDeclaration } from "../schemas/event.ts";
import { edgeKey, originalKey, proxyKey } from "../schemas/key.ts";
import type { StepRef } from "../schemas/step.ts";
import { env, newUpload, silenceQueues, storedState } from "../test/door-worker.ts";
import { content, probe } from "../test/simulation/asset-sample.ts";
import { isAtRest } from "../test/simulation/at-rest.ts";
import { assetDoor } from "./asset-door.ts";
import { stepOf } from "./machine/authority.ts";
import { timersOf } from "./machine/timer.ts";
import { transfersOf } from "./machine/transfer.ts";

interface Act {
  readonly kind: number;
  /** Chooses among steps, qualities, outcomes. */
  readonly pick: number;
  readonly stale: boolean;
  readonly twice: boolean;
}

const chosen = <Item>(items: readonly Item[], pick: number) => items[pick % items.length] as Item;

function stepsIn({ renditions }: StoredAsset): StepRef[] {
  const steps: StepRef[] = [{ kind: "archive" }, { kind: "transcode" }];
  for (const { quality, copies } of renditions) {
    steps.push({ kind: "complete", quality });
    for (const { tier } of copies) steps.push({ kind: "copy", tier, quality });
  }
  return steps;
}

/** A fact about the asset as it stands, or one that comes too late. */
type Fact = (asset: StoredAsset, act: Act, upload: UploadDeclaration) => AssetEvent;

const message = "It happened.";
const uploadIdOf = ({ pick }: Act) => `u${pick % 3}`;
const leaseOf = ({ job }: StoredAsset, { stale }: Act) =>
  stale ? "f".repeat(32) : (job.lease?.token ?? "0".repeat(32));

function about(asset: StoredAsset, { pick, stale }: Act) {
  const step = chosen(stepsIn(asset), pick);
  return { step, op: Math.max(1, (stepOf(asset, step)?.op ?? 1) + (stale ? 1 : 0)) };
}

/** Renditions and copies there are none of yet get facts all the same: those come too early. */
function rendition(asset: StoredAsset, { pick, stale }: Act) {
  const known = asset.renditions[pick % (asset.renditions.length || 1)];
  const jobId = stale ? "f".repeat(24) : (known?.jobId ?? "0".repeat(24));
  return { quality: known?.quality ?? "360p", jobId, known };
}

const facts: Fact[] = [
  (_asset, _act, upload) => ({ type: "UploadNoticed", upload }),
  (asset, { stale }, upload) => ({
    type: "OriginalArchived",
    op: asset.job.archive.op + (stale ? 1 : 0),
    key: originalKey(upload),
    sizeBytes: upload.sizeBytes,
    etag: "e",
    sha256: null,
  }),
  (asset, { stale }) => ({
    type: "TranscodeClaimed",
    generation: Math.max(1, asset.job.generation + (stale ? 1 : 0)),
    runnerId: "one",
    encoder: "libx264",
  }),
  (asset, act) => ({ type: "SourceProbed", lease: leaseOf(asset, act), source: probe(360) }),
  (asset, act) => ({
    type: "UploadOpened",
    lease: leaseOf(asset, act),
    quality: rendition(asset, act).quality,
    key: proxyKey(asset, rendition(asset, act).quality),
    uploadId: uploadIdOf(act),
    partSizeBytes: 8 << 20,
  }),
  (asset, act) => ({
    type: "RenditionUploaded",
    lease: leaseOf(asset, act),
    quality: rendition(asset, act).quality,
    ...{ width: 640, height: 360, frames: 500, durationSeconds: 20, ...content(1) },
  }),
  (asset, act) => {
    const { quality, jobId, known } = rendition(asset, act);
    const { sizeBytes } = content(1);
    return { type: "RenditionArchived", quality, jobId, op: Math.max(1, known?.step.op ?? 1), etag: "e", sizeBytes };
  },
  (asset, act) => {
    const { quality, jobId, known } = rendition(asset, act);
    const op = Math.max(1, known?.copies[0]?.step.op ?? 1);
    return { type: "CopyPlaced", tier: "r2", quality, jobId, op, etag: "e", ...content(1) };
  },
  (asset, act) => {
    const { quality, jobId, known } = rendition(asset, act);
    return { type: "CopyRemoved", tier: "r2", quality, jobId, op: Math.max(1, known?.copies[0]?.step.op ?? 1) };
  },
  (asset, act) => {
    const { quality, jobId } = rendition(asset, act);
    return { type: "ArchiveLost", quality, jobId, message };
  },
  (asset, act) => {
    const { quality, jobId } = rendition(asset, act);
    return { type: "ProxyRequested", quality, jobId };
  },
  (asset, act) => ({ type: "StepBegan", ...about(asset, act) }),
  (asset, act) => ({
    type: "StepDeferred",
    ...about(asset, act),
    code: chosen(["WASABI_UNAVAILABLE", "CHECKSUM_MISMATCH", "UPLOAD_LOST"] as const, act.pick),
    message,
    retryAfterMs: null,
    parts: [1 + (act.pick % 9)],
    startOver: act.pick % 5 === 0,
  }),
  (asset, act) => ({ type: "StepFailed", ...about(asset, act), code: "WASABI_FORBIDDEN", message }),
  (asset, act) => {
    const { step, op } = about(asset, act);
    const cut = { uploadId: uploadIdOf(act), sizeBytes: 9, partSizeBytes: 1, parts: 9, partsPerMessage: 4 };
    const plan = { ...cut, pin: null, midstate: null };
    return step.kind === "copy"
      ? { type: "TransferOpened", step, op, plan: { tier: "r2", key: edgeKey("0".repeat(24), step.quality), ...plan } }
      : { type: "TransferOpened", step, op, plan: { tier: "wasabi", key: originalKey(asset), ...plan } };
  },
  (asset, act) => {
    const { step, op } = about(asset, act);
    const uploadId = stepOf(asset, step)?.transfer?.uploadId ?? "none";
    const first = 1 + (act.pick % 9);
    const parts = [first, first + 1].map((n) => ({ n, sizeBytes: 1, etag: `e${n}`, md5: null, sha256: null }));
    return { type: "PartsMoved", step, op, uploadId, parts, midstate: null };
  },
  (asset, act) => ({ type: "LeaseReleased", lease: leaseOf(asset, act), reason: "SIGTERM" }),
  () => ({ type: "RetryRequested" }),
  (_asset, { pick }) => ({ type: pick % 4 === 0 ? "DeleteRequested" : "UndeleteRequested" }),
];

const alarm = facts.length;
const restart = facts.length + 1;
const onward = facts.length + 2;

/** Which fact the asset waits for: random ones alone would hardly get anywhere. */
function awaitedFact({ job, renditions }: StoredAsset, { pick }: Act): number {
  if (job.state === "received") return 1;
  if (job.state === "archived") return 2;
  if (job.lease !== null && !job.lease.probed) return 3;
  const states = new Set(renditions.map(({ state }) => state));
  if (states.has("encoding")) return renditions.some(({ upload }) => upload !== null) ? 5 : 4;
  if (states.has("uploaded") || states.has("missing")) return 6;
  return chosen([7, 14, 15, 10], pick);
}

const kinds = fc.oneof(
  { arbitrary: fc.constant(onward), weight: 6 },
  { arbitrary: fc.constantFrom(11, 12, 14, 15), weight: 3 },
  { arbitrary: fc.nat(onward), weight: 2 },
);
const acts = fc.array(
  fc.record({
    kind: kinds,
    pick: fc.nat(1_000),
    stale: fc.integer({ min: 0, max: 5 }).map((dice) => dice === 0),
    twice: fc.boolean(),
  }),
  { minLength: 20, maxLength: 60 },
);

const stubOf = (fileId: string) => env.ASSET.getByName(fileId);
const rows = (fileId: string, sql: string) =>
  runInDurableObject(stubOf(fileId), (_instance, state) => [...state.storage.sql.exec(sql)]);

async function expectStoredWell(fileId: string, revision: number): Promise<void> {
  const state = await storedState(fileId);
  const timers = await rows(fileId, "SELECT name FROM timer ORDER BY name");
  expect(timers.map(({ name }) => name)).toEqual(
    timersOf(state)
      .map(({ name }) => name)
      .sort(),
  );
  const history = await rows(fileId, "SELECT count(*) AS n, max(revision) AS newest FROM history");
  expect(history[0]).toEqual({ n: revision, newest: revision });
  const owed = await rows(fileId, "SELECT id FROM outbox");
  expect(isAtRest(state) || timers.length + owed.length > 0, "somebody watches").toBe(true);
  const open = new Set(transfersOf(state).map(({ uploadId }) => uploadId));
  const moved = await rows(fileId, "SELECT DISTINCT upload_id FROM moved_part");
  expect(
    moved.filter(({ upload_id }) => !open.has(String(upload_id))),
    "parts of no upload",
  ).toEqual([]);
  const alarmAtMs = await runInDurableObject(stubOf(fileId), (_instance, { storage }) => storage.getAlarm());
  if (timers.length + owed.length > 0) expect(alarmAtMs, "the alarm is armed").not.toBeNull();
}

const applied = new Set<AssetEvent["type"]>();

async function live(chosenActs: readonly Act[]): Promise<void> {
  const upload = newUpload();
  const { fileId } = upload;
  const door = assetDoor(env.ASSET, fileId);
  await silenceQueues(fileId);
  await door.apply({ key: null, by: "test", event: { type: "UploadNoticed", upload } });
  let revision = 1;
  for (const [index, act] of chosenActs.entries()) {
    if (act.kind === alarm) {
      await runDurableObjectAlarm(stubOf(fileId));
    } else if (act.kind === restart) {
      await evictDurableObject(stubOf(fileId));
      await silenceQueues(fileId);
    } else {
      const state = await storedState(fileId);
      const event = chosen(facts, act.kind === onward ? awaitedFact(state, act) : act.kind)(state, act, upload);
      const envelope: EventEnvelope = { key: `k${index}`, by: "test", event };
      const { outcome } = await door.apply(envelope);
      if (outcome === "applied") applied.add(event.type);
      expect(outcome, event.type).not.toBe("conflict");
      if (act.twice && outcome !== "unknown") expect((await door.apply(envelope)).outcome).toBe("duplicate");
    }
    const asset = await door.view();
    expect(asset?.revision).toBeGreaterThanOrEqual(revision);
    revision = asset?.revision ?? 0;
  }
  await expect.poll(() => rows(fileId, `SELECT id FROM outbox WHERE next_at_ms <= ${Date.now()}`)).toEqual([]);
  await expectStoredWell(fileId, revision);
}

test("whatever is told, in whatever order, twice or late, across restarts", async () => {
  await fc.assert(fc.asyncProperty(acts, live), { numRuns: 30 });
  // Else the sequences would not get anywhere.
  expect([...applied]).toEqual(
    expect.arrayContaining(["TranscodeClaimed", "RenditionArchived", "CopyPlaced", "TransferOpened", "PartsMoved"]),
  );
}, 180_000);
