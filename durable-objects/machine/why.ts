/** "Why is this here?", answered for every copy from the state, the retention terms and the time alone. Pure. */
import type { CopyReason, Step, StoredAsset, StoredCopy, StoredRendition } from "../../schemas/asset-state.ts";
import { edgeKey, editorKey, originalKey, proxyKey } from "../../schemas/key.ts";
import type { RetentionTerms, TermsByQuality } from "../../schemas/retention.ts";
import type { Why } from "../../schemas/why.ts";
import { evictAfterMs } from "./retention.ts";

const iso = (atMs: number) => new Date(atMs).toISOString();
const isoOrNull = (atMs: number | null) => (atMs === null ? null : iso(atMs));
const next = (action: string, atMs: number | null): Why["next"] => (atMs === null ? null : { action, at: iso(atMs) });
const troubleOf = ({ problem }: Step) => problem && `${problem.code}: ${problem.message}`;

export function explain(asset: StoredAsset, terms: TermsByQuality, atMs: number): Why[] {
  return [
    whyOriginal(asset),
    ...asset.renditions.flatMap((rendition) => [
      whyArchived(asset, rendition),
      ...rendition.copies.map((copy) =>
        copy.tier === "r2"
          ? whyOnEdge(asset, rendition, copy, { terms: terms[rendition.quality], atMs })
          : whyForEditors(asset, rendition, copy),
      ),
    ]),
  ];
}

/** A deletion comes before whatever else would be next. */
function ending({ job }: StoredAsset): Why["next"] {
  return job.state === "deleting" ? next("the asset is deleted", job.graceEndsAtMs) : null;
}

function whyOriginal(asset: StoredAsset): Why {
  const { original, job } = asset;
  const known = { tier: "wasabi", quality: "original", lastAccessAt: null } as const;
  if (original?.loss) {
    const { code, message } = original.loss;
    const because = "It was verified in Wasabi once, and somebody has deleted or replaced it since.";
    return { ...known, key: original.key, since: null, because, next: ending(asset), blockedBy: `${code}: ${message}` };
  }
  if (original !== null) {
    const because = "It is the original: it stays in Wasabi, and never goes anywhere else.";
    const since = iso(original.verifiedAtMs);
    return { ...known, key: original.key, since, because, next: ending(asset), blockedBy: null };
  }
  return {
    ...known,
    key: originalKey(asset),
    since: null,
    because:
      job.state === "failed" || job.state === "cancelled"
        ? "The original was never verified in Wasabi, and nobody looks for it any more."
        : "The original has been announced and is not verified in Wasabi yet.",
    next: ending(asset) ?? next("it is looked for again", job.archive.deadlineAtMs),
    blockedBy: troubleOf(job.archive),
  };
}

const archiveReason: Readonly<Record<StoredRendition["state"], string>> = {
  wanted: "It is to be encoded: no runner is at it.",
  encoding: "A runner is encoding it.",
  uploaded: "It is uploaded, and is being verified.",
  archived: "Every rendition stays in Wasabi: its other copies are made from this one.",
  missing: "It is gone from Wasabi, and is being brought back from its copy on R2.",
  failed: "It could not be made.",
};

function whyArchived(asset: StoredAsset, rendition: StoredRendition): Why {
  const { quality, state, step, verifiedAtMs } = rendition;
  return {
    tier: "wasabi",
    quality,
    key: proxyKey(asset, quality),
    since: state === "archived" ? isoOrNull(verifiedAtMs) : null,
    because: archiveReason[state],
    lastAccessAt: null,
    next: ending(asset) ?? attempt(step),
    blockedBy: troubleOf(step) ?? (state === "wanted" || state === "failed" ? troubleOf(asset.job.transcode) : null),
  };
}

function attempt(step: Step): Why["next"] {
  return next(step.phase === "waiting" ? "it is tried again" : "whoever is at it is asked", step.deadlineAtMs);
}

const edgeReason: Readonly<Record<CopyReason, string>> = {
  policy: "The policy puts this quality on R2 as soon as it is archived.",
  viewer: "A viewer asked for it when R2 did not have it.",
  operator: "An operator wanted it on R2.",
};

interface Circumstances {
  terms: RetentionTerms;
  atMs: number;
}

function whyOnEdge(asset: StoredAsset, rendition: StoredRendition, copy: StoredCopy, about: Circumstances): Why {
  const { quality } = rendition;
  const { placedAtMs, lastAccessAtMs, state } = copy;
  const isThere = state === "placed" || state === "removing";
  return {
    tier: "r2",
    quality,
    key: edgeKey(copy.jobId, quality),
    since: isThere ? isoOrNull(placedAtMs) : null,
    lastAccessAt: isoOrNull(lastAccessAtMs),
    ...(state === "placed"
      ? placedOnEdge(asset, rendition, copy, about)
      : onTheMove(asset, copy, edgeReason[copy.reason])),
  };
}

type Story = Pick<Why, "because" | "next" | "blockedBy">;

function placedOnEdge(asset: StoredAsset, rendition: StoredRendition, copy: StoredCopy, about: Circumstances): Story {
  const { terms, atMs } = about;
  const leavesAtMs = evictAfterMs(asset, copy, terms);
  const due = leavesAtMs !== null && leavesAtMs <= atMs;
  const action = due ? "it leaves R2 with the next sweep" : "it leaves R2, unless somebody plays it before";
  const missing = rendition.state === "archived" ? null : "Wasabi does not hold it: nothing leaves R2 before it does.";
  return {
    because: edgeReason[copy.reason],
    next: ending(asset) ?? (missing === null ? next(action, leavesAtMs) : null),
    blockedBy: missing ?? pinOf(asset, copy, about) ?? troubleOf(copy.step),
  };
}

function pinOf(asset: StoredAsset, copy: StoredCopy, { terms, atMs }: Circumstances): string | null {
  const pins: [string, number | null][] = [
    ["The asset is pinned", asset.pinnedUntilMs],
    ["The copy is pinned", copy.pinnedUntilMs],
    ["Its project is pinned", terms.pinnedUntilMs],
  ];
  const [longest] = pins
    .flatMap(([says, untilMs]) => (untilMs !== null && untilMs > atMs ? [{ says, untilMs }] : []))
    .sort((a, b) => b.untilMs - a.untilMs);
  return longest === undefined ? null : `${longest.says} until ${iso(longest.untilMs)}.`;
}

/** Of a copy that is not simply there. */
function onTheMove(asset: StoredAsset, copy: StoredCopy, reason: string): Story {
  const blockedBy = troubleOf(copy.step);
  const soon = ending(asset) ?? attempt(copy.step);
  switch (copy.state) {
    case "wanted":
      return { because: `${reason} It waits until Wasabi holds it.`, next: soon, blockedBy };
    case "placing":
      return { because: `${reason} It is on its way.`, next: soon, blockedBy };
    case "placed":
      return { because: reason, next: ending(asset), blockedBy };
    case "removing":
      return {
        because: copy.wantedAgain
          ? "It is being removed, and was asked for meanwhile: it is made again as soon as it is gone."
          : "It is being removed: its time was over, an operator wanted it gone, or the asset is deleted.",
        next: soon,
        blockedBy,
      };
    case "evicted":
      return {
        because: "It was removed. It plays from Wasabi, and comes back as soon as somebody plays it.",
        next: null,
        blockedBy,
      };
    case "failed":
      return {
        because: `${reason} It has used up its tries, and waits for an operator to retry.`,
        next: null,
        blockedBy,
      };
  }
}

function whyForEditors(asset: StoredAsset, { quality }: StoredRendition, copy: StoredCopy): Why {
  const story = onTheMove(asset, copy, "The highest rendition lies in LucidLink, for editors.");
  const removed = copy.state === "evicted" ? "It was removed with its asset." : story.because;
  return {
    tier: "lucidlink",
    quality,
    key: `/${editorKey(asset, quality)}`,
    since: copy.state === "placed" || copy.state === "removing" ? isoOrNull(copy.placedAtMs) : null,
    lastAccessAt: null,
    ...story,
    because: removed,
  };
}
