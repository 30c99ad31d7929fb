/**
 * What is wrong with a field, in words that follow its name: "must be a whole number". Given to zod for one parse
 * (`{ error: issueSentence }`); where a schema has words of its own, those win.
 */
import type { z } from "zod";

const kinds: Readonly<Record<string, string>> = {
  int: "a whole number",
  number: "a number",
  string: "a string",
  boolean: "true or false",
  array: "an array",
  object: "an object",
  record: "an object",
};

const counted: Readonly<Record<string, readonly [one: string, many: string]>> = {
  string: ["character", "characters"],
  array: ["entry", "entries"],
};

/** undefined: zod's own words will do. Never quotes the value, which may be a secret. */
export function issueSentence(issue: z.core.$ZodRawIssue): string | undefined {
  switch (issue.code) {
    case "invalid_type":
      if (issue.input === undefined) return "is missing";
      return kinds[issue.expected] === undefined ? undefined : `must be ${kinds[issue.expected]}`;
    case "invalid_value":
      return `must be ${issue.values.length > 1 ? "one of " : ""}${issue.values.join(", ")}`;
    case "too_small":
      return bound(issue.origin, issue.inclusive ? "at least" : "more than", issue.minimum);
    case "too_big":
      return bound(issue.origin, issue.inclusive ? "at most" : "less than", issue.maximum);
    case "unrecognized_keys":
      return `has fields that are not known: ${issue.keys.join(", ")}`;
    default:
      return undefined;
  }
}

function bound(origin: string, relation: string, limit: number | bigint): string {
  const unit = counted[origin];
  return unit === undefined
    ? `must be ${relation} ${limit}`
    : `must have ${relation} ${limit} ${unit[Number(limit) === 1 ? 0 : 1]}`;
}

/** One sentence for each field, since the first fault of a field is the one to fix. */
export function firstOfEachPath<Issue extends { path: readonly PropertyKey[] | string }>(
  issues: readonly Issue[],
): Issue[] {
  const seen = new Set<string>();
  return issues.filter(({ path }) => {
    const name = JSON.stringify(typeof path === "string" ? path : path.map(String));
    return !seen.has(name) && seen.add(name);
  });
}

export interface FieldError {
  path: string;
  message: string;
}

const mostErrors = 20;
const longestPath = 200;
const longestMessage = 300;
const longestDetail = 1000;

/** What a refusal tells: names and words may come from the request, and no answer may be many times its request's size. */
export function inBrief(detail: string, errors: readonly FieldError[]): { detail: string; errors: FieldError[] } {
  const named = errors
    .slice(0, mostErrors)
    .map(({ path, message }) => ({ path: cut(path, longestPath), message: cut(message, longestMessage) }));
  const more =
    errors.length > mostErrors ? ` ${errors.length} fields are wrong; the first ${mostErrors} are named.` : "";
  return { detail: cut(detail, longestDetail) + more, errors: named };
}

function cut(text: string, longest: number): string {
  return text.length <= longest ? text : `${text.slice(0, longest - 1).toWellFormed()}…`;
}
