/**
 * Whatever happens, in whatever order, twice, late or never: the invariants hold after every transition (AssetRun proves
 * them), and once the world is healthy again the asset comes to rest, with the stores holding what its state says.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { AssetEvent } from "../../schemas/event.ts";
import { edgeKey, editorKey, proxyKey } from "../../schemas/key.ts";
import { QUALITIES, type Quality } from "../../schemas/ladder.ts";
import { upload } from "../../test/simulation/asset-sample.ts";
import { isAtRest } from "../../test/simulation/at-rest.ts";
import { type Outcome, World } from "../../test/simulation/world.ts";

interface Act {
  readonly kind: string;
  /** Two numbers that choose among whatever there is to choose from. */
  readonly a: number;
  readonly b: number;
}

const chosen = <Item>(items: readonly Item[], index: number): Item | undefined => items[index % (items.length || 1)];

const gentleOutcomes: readonly Outcome[] = ["succeed", "succeed", "succeed", "begin", "crash", "vanish", "outage"];
const harshOutcomes: readonly Outcome[] = [...gentleOutcomes, "stumble", "fail"];

type Acts = Readonly<Record<string, (world: World, act: Act) => void>>;

/** What trying again fixes. */
const gentle: Acts = {
  take: (world, { a, b }) => world.take(a % (world.commands.length || 1), chosen(gentleOutcomes, b) ?? "succeed"),
  hear: (world, { a }) => world.hear(a % (world.facts.length || 1)),
  hearAgain: (world, { a }) => {
    if (chosen(world.facts, a)?.type !== "StepDeferred") world.hear(a % (world.facts.length || 1), true);
  },
  dropFact: (world, { a }) => void world.facts.splice(a % (world.facts.length || 1), 1),
  repeatCommand: (world, { a }) => {
    const command = chosen(world.commands, a);
    if (command !== undefined) world.commands.push(command);
  },
  work: (world, { a }) => {
    const runner = chosen(world.runners, a);
    if (runner !== undefined) world.work(runner);
  },
  flow: (world, { a }) => {
    for (let left = a % 10; left > 0 && world.flow(); left -= 1);
  },
  timer: (world) => {
    const timer = world.run.nextTimer();
    if (timer !== null) world.fire(timer);
  },
  timerTooSoon: (world) => {
    const timer = world.run.nextTimer();
    if (timer !== null && timer.atMs > world.run.nowMs) expect(world.tell(timer.event).verdict).toBe("ignored");
  },
  renew: (world, { a, b }) => {
    const lease = chosen(world.runners, a)?.lease;
    if (lease) world.tell({ type: "LeaseRenewed", lease, ...(b % 2 === 0 ? {} : { sourceBytes: b }) });
  },
  release: (world, { a }) => {
    const lease = chosen(world.runners, a)?.lease;
    if (lease) world.tell({ type: "LeaseReleased", lease, reason: "SIGTERM" });
  },
  wait: (world, { a }) => world.run.advance(a),
  access: (world, act) => aboutCopy(world, act, (copy) => ({ type: "ProxyAccessed", ...copy })),
  request: (world, act) => aboutCopy(world, act, ({ quality, jobId }) => ({ type: "ProxyRequested", quality, jobId })),
  retention: (world, act) => {
    if (act.b % 2 === 0) world.run.advance(31 * 24 * 60 * 60 * 1000);
    const terms = act.a % 3 === 0 ? { days: 1 + (act.a % 40), pinnedUntilMs: null } : undefined;
    aboutCopy(world, act, ({ quality }) => ({ type: "RetentionElapsed", quality, terms }));
  },
  evict: (world, act) => aboutCopy(world, act, ({ quality }) => ({ type: "EvictionRequested", quality })),
  promote: (world, act) => {
    const pinnedUntilMs = act.b % 3 === 0 ? world.run.nowMs + act.a : null;
    aboutCopy(world, act, ({ quality }) => ({ type: "PromotionRequested", quality, pinnedUntilMs }));
  },
  pin: (world, { a, b }) => {
    const untilMs = b % 3 === 0 ? null : world.run.nowMs + a * 1_000;
    world.tell({ type: "PinChanged", untilMs });
  },
  pinProject: (world, { a }) => {
    world.projectPinned = a % 2 === 0;
  },
  notice: (world) => void world.tell({ type: "UploadNoticed", upload }),
  stale: (world, act) => void world.tell(staleFact(world, act)),
  delete: (world) => void world.tell({ type: "DeleteRequested" }),
  undelete: (world) => void world.tell({ type: "UndeleteRequested" }),
};

/** What may rightly end in a failure. */
const harsh: Acts = {
  ...gentle,
  take: (world, { a, b }) => world.take(a % (world.commands.length || 1), chosen(harshOutcomes, b) ?? "succeed"),
  loseArchive: (world, { a }) => world.loseArchive(chosen(QUALITIES, a) ?? "360p"),
  cryLost: (world, { a }) => {
    const rendition = chosen(world.run.asset.renditions, a);
    if (rendition === undefined) return;
    world.faults += 1;
    const { quality, jobId } = rendition;
    world.tell({ type: "ArchiveLost", quality, jobId, message: "A false alarm." });
  },
  failEncode: (world, { a, b }) => {
    const lease = chosen(world.runners, a)?.lease;
    if (!lease) return;
    world.faults += 1;
    const code = b % 4 === 0 ? "INVALID_MEDIA" : "ENCODER_FAILED";
    world.tell({ type: "TranscodeFailed", lease, code, message: "ffmpeg said no.", retryable: true });
  },
  original: (world, { a }) => {
    world.originalThere = a % 3 !== 0;
  },
  retry: (world) => void world.tell({ type: "RetryRequested" }),
  cancel: (world) => void world.tell({ type: "CancelRequested" }),
  entomb: (world) => {
    if (world.run.asset.job.state === "deleting") world.run.advance(world.run.policy.deleteGraceMs);
    world.tell({ type: "GraceElapsed" });
  },
};

function aboutCopy(
  world: World,
  { a, b }: Act,
  eventOf: (copy: { quality: Quality; jobId: string; tier: "r2" | "lucidlink" }) => AssetEvent,
): void {
  const rendition = chosen(world.run.asset.renditions, a);
  if (rendition === undefined) return;
  const { quality, jobId } = rendition;
  world.tell(eventOf({ quality, jobId, tier: b % 2 === 0 ? "r2" : "lucidlink" }));
}

/** Facts with a lease, an op, a generation or a job that is not the present one. */
function staleFact(world: World, { a, b }: Act): AssetEvent {
  const { asset } = world.run;
  const quality = chosen(QUALITIES, b) ?? "360p";
  const lease = "a-lease-that-nobody-holds";
  const op = 1_000 + b;
  const jobId = "f".repeat(24);
  const sha256 = { partSizeBytes: 1, parts: 1, composite: "0".repeat(64) };
  const facts: AssetEvent[] = [
    { type: "LeaseRenewed", lease },
    { type: "LeaseReleased", lease, reason: "late" },
    { type: "TranscodeFailed", lease, code: "INVALID_MEDIA", message: "late", retryable: false },
    { type: "TranscodeClaimed", generation: asset.job.generation + 1, runnerId: "one", encoder: "libx264" },
    { type: "UploadOpened", lease, quality, key: proxyKey(asset, quality), uploadId: "late", partSizeBytes: 1 },
    { type: "LeaseExpired", generation: asset.job.generation + 1 },
    { type: "RenditionArchived", quality, jobId, op: 1, etag: "late", sizeBytes: 1 },
    { type: "CopyPlaced", tier: "r2", quality, jobId, op, sizeBytes: 1, etag: null, sha256 },
    { type: "CopyRemoved", tier: "r2", quality, jobId, op },
    { type: "StepFailed", step: { kind: "archive" }, op, code: "SIZE_MISMATCH", message: "late" },
    { type: "StepFailed", step: { kind: "complete", quality }, op, code: "UPLOAD_LOST", message: "late" },
    { type: "StepFailed", step: { kind: "copy", tier: "r2", quality }, op, code: "PATH_REFUSED", message: "late" },
    { type: "StepDue", step: { kind: "transcode" }, op },
    { type: "ArchiveLost", quality, jobId, message: "of another job" },
    { type: "ProxyRequested", quality, jobId },
  ];
  return chosen(facts, a) ?? { type: "GraceElapsed" };
}

/** What moves the work on outweighs what disturbs it; what ends it is rare, or most storms would be short. */
const actsOf = (acts: Acts) => {
  const progress = ["take", "hear", "work", "flow", "timer"];
  const ends = ["delete", "undelete", "cancel", "entomb", "original"].filter((kind) => kind in acts);
  const others = Object.keys(acts).filter((kind) => !progress.includes(kind) && !ends.includes(kind));
  const kind = fc.oneof(
    { arbitrary: fc.constantFrom(...progress), weight: 12 },
    { arbitrary: fc.constantFrom(...others), weight: 8 },
    { arbitrary: fc.constantFrom(...ends), weight: 1 },
  );
  return fc.array(fc.record({ kind, a: fc.nat(60_000), b: fc.nat(1_000) }), { maxLength: 150, size: "max" });
};

const timeoutMs = 120_000;
const heights = fc.constantFrom(240, 360, 720, 1080);

/** Most objects move whole; some in a few parts, in one message or several. */
const partCounts = fc.constantFrom(0, 0, 1, 3, 9);

function live(acts: Acts, height: number, parts: number, chosenActs: readonly Act[]): World {
  const world = new World(height, parts);
  for (const act of chosenActs) acts[act.kind]?.(world, act);
  return world;
}

/** At rest, each store holds what the state says: no wrong byte, no stray copy, no forgotten upload. */
function expectStoresToAgree({ run, wasabi, edge, editor, uploads, transfers }: World): void {
  const { asset } = run;
  const known = new Set<string>();
  for (const { quality, jobId, state, etag, sha256, copies } of asset.renditions) {
    const archive = wasabi.get(proxyKey(asset, quality));
    if (state === "archived") {
      expect(archive?.sha256, `${quality} in Wasabi`).toEqual(sha256);
      expect(archive?.etag).toBe(etag);
    }
    for (const copy of copies) {
      const store = copy.tier === "r2" ? edge : editor;
      const key = copy.tier === "r2" ? edgeKey(jobId, quality) : editorKey(asset, quality);
      if (copy.state === "placed") {
        expect(store.get(key)?.sha256, `${quality} on ${copy.tier}`).toEqual(sha256);
        known.add(key);
      }
      if (copy.state === "failed") known.add(key);
    }
  }
  expect(
    [...edge.keys(), ...editor.keys()].filter((key) => !known.has(key)),
    "copies that nobody knows of",
  ).toEqual([]);
  expect([...uploads.keys(), ...transfers.keys()], "uploads that nobody aborted").toEqual([]);
}

/** A viewer finds R2 empty where a copy should be (its removal was done, and the word of it lost), and says so. */
function askForWhatIsGone(world: World): void {
  const { asset } = world.run;
  for (const { quality, jobId, copies } of asset.renditions) {
    const placed = copies.some(({ tier, state }) => tier === "r2" && state === "placed");
    if (placed && !world.edge.has(edgeKey(jobId, quality))) world.tell({ type: "ProxyRequested", quality, jobId });
  }
}

const recovered = ["distributed", "evicted"];

describe("a healthy world after any storm", () => {
  test(
    "outages, silence, repeats, delays and losses end as if nothing had happened",
    () => {
      fc.assert(
        fc.property(heights, partCounts, actsOf(gentle), (height, parts, acts) => {
          const world = live(gentle, height, parts, acts);
          world.settle();
          const ends = world.silences >= 2 * world.run.policy.transcodeAttempts ? [...recovered, "failed"] : recovered;
          expect([...ends, "deleted"]).toContain(world.run.status);
          expectStoresToAgree(world);
        }),
        { numRuns: 200 },
      );
    },
    timeoutMs,
  );

  test(
    "faults end in a failure that says why, and one retry fixes it",
    () => {
      fc.assert(
        fc.property(heights, partCounts, actsOf(harsh), (height, parts, acts) => {
          const world = live(harsh, height, parts, acts);
          world.settle();
          const { run } = world;
          expect(isAtRest(run.asset), `${run.status} is at rest`).toBe(true);
          if (run.status === "failed") {
            expect(world.faults + world.silences).toBeGreaterThan(0);
            const { archive, transcode } = run.asset.job;
            expect(archive.problem ?? transcode.problem).not.toBeNull();
          }
          world.tell({ type: "RetryRequested" });
          world.settle();
          askForWhatIsGone(world);
          world.settle();
          expect([...recovered, "deleted"]).toContain(run.status);
          expectStoresToAgree(world);
        }),
        { numRuns: 400 },
      );
    },
    timeoutMs,
  );
});
