/** `--policy`: overrides of the default policy, checked before anything starts. */
import { z } from "zod";
import { firstOfEachPath, issueSentence } from "../schemas/issue-sentence.ts";
import { Policy } from "../schemas/policy.ts";

// The worker leaves out what it does not know; a slip of the pen on a command line is better told.
const Overrides = Policy.strict();

/**
 * @returns the overrides as they were given
 * @throws Error in words for the terminal, naming every field that is wrong
 */
export function readPolicyOption(text: string): Record<string, unknown> {
  const given = parseObject(text);
  const checked = Overrides.safeParse(given, { error: issueSentence });
  if (checked.success) return given;
  const faults = firstOfEachPath(checked.error.issues).map(
    ({ path, message }) => `  ${z.core.toDotPath(path as (string | number)[]) || "it"} ${message}`,
  );
  throw new Error(["--policy is not valid; schemas/policy.ts has every field:", ...faults].join("\n"));
}

function parseObject(text: string): Record<string, unknown> {
  try {
    return z.record(z.string(), z.unknown()).parse(JSON.parse(text));
  } catch {
    throw new Error(`--policy takes a JSON object, not ${text}`);
  }
}
