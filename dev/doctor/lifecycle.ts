/** A bucket's lifecycle rules: read from their XML, and judged by what they do to what the archive holds. Pure. */
import { z } from "zod";
import { failed, ok, type Verdict } from "./check.ts";
import { xmlOf } from "./s3-probe.ts";

export type LifecycleRule = {
  id: string;
  enabled: boolean;
  prefix: string;
  /** Current versions go: after days, or at a date. */
  expires: string | null;
  noncurrentDays: number | null;
  abortDays: number | null;
};

const many = <Schema extends z.ZodType>(schema: Schema) =>
  z.union([z.array(schema), schema.transform((one) => [one])]).default([]);
const Days = z.coerce.number();

/** The parser turns an empty element into an empty text. */
const filled = <Shape extends z.ZodRawShape>(shape: Shape) =>
  z.union([z.literal("").transform(() => undefined), z.object(shape)]).optional();

const RuleElement = z.object({
  ID: z.string().default(""),
  Status: z.string(),
  Prefix: z.string().optional(),
  Filter: filled({ Prefix: z.string().optional(), And: filled({ Prefix: z.string().optional() }) }),
  Expiration: filled({ Days: Days.optional(), Date: z.string().optional() }),
  NoncurrentVersionExpiration: filled({ NoncurrentDays: Days }),
  AbortIncompleteMultipartUpload: filled({ DaysAfterInitiation: Days }),
});

const Document = z.object({
  LifecycleConfiguration: z.union([
    z.literal("").transform(() => ({ Rule: [] })),
    z.object({ Rule: many(RuleElement) }),
  ]),
});

/** @returns null for text that is no lifecycle configuration */
export function readLifecycle(text: string): LifecycleRule[] | null {
  const parsed = Document.safeParse(xmlOf(text));
  if (!parsed.success) return null;
  return parsed.data.LifecycleConfiguration.Rule.map((rule) => {
    const { Days: days, Date: date } = rule.Expiration ?? {};
    return {
      id: rule.ID,
      enabled: rule.Status === "Enabled",
      prefix: rule.Filter?.And?.Prefix ?? rule.Filter?.Prefix ?? rule.Prefix ?? "",
      expires: days !== undefined ? `after ${days} days` : date === undefined ? null : `on ${date}`,
      noncurrentDays: rule.NoncurrentVersionExpiration?.NoncurrentDays ?? null,
      abortDays: rule.AbortIncompleteMultipartUpload?.DaysAfterInitiation ?? null,
    };
  });
}

const kept = ["originals/", "proxies/"];
const fewestNoncurrentDays = 90;
/** Uploads of terabytes last many hours. */
const fewestAbortDays = 2;

/** Tags and sizes may narrow a rule further: it still may hit something there. */
const touches = (rule: LifecycleRule, folder: string) =>
  folder.startsWith(rule.prefix) || rule.prefix.startsWith(folder);
const inForce = (rules: readonly LifecycleRule[]) => rules.filter(({ enabled }) => enabled);
const named = ({ id, prefix }: LifecycleRule) => `rule "${id}" (prefix "${prefix}")`;

export function judgeExpiry(rules: readonly LifecycleRule[], fix: string): Verdict {
  const bad = inForce(rules).filter((rule) => rule.expires !== null && kept.some((folder) => touches(rule, folder)));
  if (bad.length === 0) return ok("no rule removes what the archive holds");
  const faults = bad.map((rule) => `${named(rule)} removes files ${rule.expires}`).join("; ");
  return failed(`${faults}: Wasabi is the archive, and nothing brings them back.`, fix);
}

export function judgeNoncurrent(rules: readonly LifecycleRule[], fix: string): Verdict {
  const ofOriginals = inForce(rules).filter((rule) => rule.noncurrentDays !== null && touches(rule, "originals/"));
  const bad = ofOriginals.filter(({ noncurrentDays }) => (noncurrentDays ?? 0) < fewestNoncurrentDays);
  if (bad.length > 0) {
    const faults = bad.map((rule) => `${named(rule)} after ${rule.noncurrentDays} days`).join("; ");
    return failed(
      `Replaced originals are removed too early: ${faults}. An overwrite that is noticed later than that is final.`,
      fix,
    );
  }
  const days = ofOriginals.map(({ noncurrentDays }) => noncurrentDays ?? 0);
  return ok(days.length === 0 ? "replaced originals are kept for ever" : `kept for ${Math.min(...days)} days`);
}

export function judgeAbort(rules: readonly LifecycleRule[], fix: string): Verdict {
  const aborting = inForce(rules).filter(({ abortDays }) => abortDays !== null);
  const early = aborting.find((rule) => (rule.abortDays ?? 0) < fewestAbortDays);
  if (early !== undefined) {
    return failed(`${named(early)} aborts uploads after ${early.abortDays} days: some may be under way.`, fix);
  }
  const without = kept.filter((folder) => !aborting.some(({ prefix }) => folder.startsWith(prefix)));
  if (without.length === 0) return ok(`after ${Math.max(...aborting.map((rule) => rule.abortDays ?? 0))} days`);
  return failed(
    `No rule aborts incomplete multipart uploads below ${without.join(" and ")}: parts that nobody completes are billed for ever.`,
    fix,
  );
}
