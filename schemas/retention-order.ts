/** What an operator may order about retention, for a file or a whole project, and what is answered. */
import { z } from "zod";
import { FileId, Slug } from "./id.ts";
import { Quality } from "./ladder.ts";
import { RetentionPolicy } from "./retention.ts";

const Time = z.iso.datetime();
const Until = z.iso.datetime({ error: "must be a time in ISO 8601 UTC" });
const Qualities = z.array(Quality).min(1, "must name at least one quality").max(Quality.options.length);

/** Each stands for as many projects as its client has, which every sweep looks at. */
const mostClientOverrides = 100;

export const AssetPath = z.strictObject({ fileId: FileId });
export const ProjectPath = z.strictObject({ client: Slug, project: Slug });

export const PolicyChange = z.strictObject({
  /** The version that this change was made from. */
  version: z.int().nonnegative(),
  policy: RetentionPolicy.refine(
    ({ overrides }) => overrides.filter(({ projectName }) => projectName === undefined).length <= mostClientOverrides,
    { path: ["overrides"], message: `must have at most ${mostClientOverrides} entries without a projectName` },
  ),
});

export const PinOrder = z.strictObject({ until: Until });
export const PromoteOrder = z.strictObject({ qualities: Qualities, until: Until.optional() });
export const EvictOrder = z.strictObject({
  /** All that lie on R2, unless told. */
  qualities: Qualities.optional(),
});

export const ProjectPin = z.object({ clientName: Slug, projectName: Slug, pinnedUntil: Time.nullable() });

export const WrapOrder = z.strictObject({
  /** Tells what it would do, and does nothing. */
  dryRun: z.boolean().default(false),
});
export const PrewarmOrder = z.strictObject({
  qualities: Qualities,
  until: Until.optional(),
  dryRun: z.boolean().default(false),
});

const Amount = z.object({ copies: z.int().nonnegative(), bytes: z.int().nonnegative() });

export const ProjectRun = z.object({
  id: z.string(),
  kind: z.enum(["wrap", "prewarm"]),
  clientName: Slug,
  projectName: Slug,
  qualities: z.array(Quality).nullable(),
  until: Time.nullable(),
  /** Assets that have been told so far. */
  assets: z.int().nonnegative(),
  /** Copies whose asset took the order. */
  ordered: z.int().nonnegative(),
  /** Assets that gave no answer: order it again. */
  unanswered: z.int().nonnegative(),
  requestedAt: Time,
  requestedBy: z.string(),
  finishedAt: Time.nullable(),
});
export type ProjectRun = z.infer<typeof ProjectRun>;

export const ProjectRunPage = z.object({ runs: z.array(ProjectRun) });

/** As the catalogue knows it. */
export const WrapAnswer = z.object({
  /** What leaves R2, or does not come to lie there. */
  leaving: Amount,
  /** What stays, because its asset is pinned, or the project is. */
  pinned: Amount,
  savedUsdPerMonth: z.number(),
  /** Null where nothing was done. */
  run: ProjectRun.nullable(),
});
export const PrewarmAnswer = z.object({
  /** What has to be copied from Wasabi; it counts as its egress. */
  coming: Amount,
  /** What lies on R2 already. */
  present: Amount,
  addedUsdPerMonth: z.number(),
  run: ProjectRun.nullable(),
});
