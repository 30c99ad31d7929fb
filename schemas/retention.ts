/**
 * Retention as an operator may change it while everything runs: days without access by quality, and projects that differ.
 * It is stored in D1; what a nomination needs of it travels with the nomination, so that a change rewrites no asset.
 */
import { z } from "zod";
import { Slug } from "./id.ts";
import { Quality } from "./ladder.ts";

const Days = z.number().positive("must be more than 0").max(3650, "must be at most 3650");

/** Days without access after which a proxy leaves R2. */
export const RetentionDays = z.record(Quality, Days);
export type RetentionDays = z.infer<typeof RetentionDays>;

const RetentionOverride = z.strictObject({
  clientName: Slug,
  /** Without it: every project of the client that has no override of its own. */
  projectName: Slug.optional(),
  retentionDays: z
    .partialRecord(Quality, Days)
    .refine((days) => Object.keys(days).length > 0, "must name at least one quality"),
});
export type RetentionOverride = z.infer<typeof RetentionOverride>;

/** Every override is looked at by every sweep. */
const mostOverrides = 500;

export const RetentionPolicy = z.strictObject({
  retentionDays: RetentionDays,
  overrides: z
    .array(RetentionOverride)
    .max(mostOverrides, `must have at most ${mostOverrides} entries`)
    .superRefine((overrides, ctx) => {
      const seen = new Set<string>();
      for (const [index, { clientName, projectName = "" }] of overrides.entries()) {
        const subject = `${clientName}/${projectName}`;
        if (seen.has(subject)) ctx.addIssue({ code: "custom", path: [index], message: "names the same project again" });
        seen.add(subject);
      }
    }),
});
export type RetentionPolicy = z.infer<typeof RetentionPolicy>;

/** `version` 0: nobody has changed it yet, and the deployment's own setting holds. */
export const StoredRetention = z.object({
  version: z.int().nonnegative(),
  policy: RetentionPolicy,
  updatedAt: z.iso.datetime().nullable(),
  updatedBy: z.string().nullable(),
});
export type StoredRetention = z.infer<typeof StoredRetention>;

/** What of all this concerns one copy. */
export const RetentionTerms = z.object({
  days: z.number().positive(),
  /** Its project's pin; the asset knows its own. */
  pinnedUntilMs: z.int().nonnegative().nullable(),
});
export type RetentionTerms = z.infer<typeof RetentionTerms>;

/** What of it concerns the copies of one asset. */
export const TermsByQuality = z.record(Quality, RetentionTerms);
export type TermsByQuality = Readonly<z.infer<typeof TermsByQuality>>;

interface Owner {
  clientName: string;
  projectName: string;
}

/** The project's own days before its client's, before everybody's. */
export function retentionDaysOf({ retentionDays, overrides }: RetentionPolicy, owner: Owner, quality: Quality): number {
  const ofClient = overrides.filter(({ clientName }) => clientName === owner.clientName);
  const ofProject = ofClient.find(({ projectName }) => projectName === owner.projectName);
  const ofOthers = ofClient.find(({ projectName }) => projectName === undefined);
  return ofProject?.retentionDays[quality] ?? ofOthers?.retentionDays[quality] ?? retentionDays[quality];
}
