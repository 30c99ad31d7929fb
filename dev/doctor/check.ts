/** What a check is: it gathers facts from outside, and a pure judge says what they mean and which command repairs it. */
import type { CheckOutcome } from "../../schemas/self-test.ts";

export type Verdict = {
  outcome: CheckOutcome;
  /** What was found, and what it means where it is wrong. */
  detail: string;
  /** The command or the step that repairs it. */
  fix: string | null;
};

export const ok = (detail = ""): Verdict => ({ outcome: "ok", detail, fix: null });
export const failed = (detail: string, fix: string): Verdict => ({ outcome: "failed", detail, fix });
/** Never a kind of ok: nobody knows. */
export const notCheckable = (detail: string): Verdict => ({ outcome: "not-checkable", detail, fix: null });

export type Finding = Verdict & { group: string; name: string };

export type Check<World> = { name: string; run(world: World): Promise<Verdict> };

export function check<World, Fact>(spec: {
  name: string;
  gather(world: World): Promise<Fact>;
  judge(fact: Fact, world: World): Verdict;
}): Check<World> {
  return { name: spec.name, run: async (world) => spec.judge(await spec.gather(world), world) };
}

export type Group<World> = {
  title: string;
  /** Some are known only once the world was asked. */
  checks(world: World): Promise<readonly Check<World>[]>;
};

/** One after the other: what a check leaves in the world (a first answer, a clock's reading) the next ones find. */
export async function runGroups<World>(groups: readonly Group<World>[], world: World): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const { title, checks } of groups) {
    for (const { name, run } of await checks(world)) {
      findings.push({ group: title, name, ...(await run(world)) });
    }
  }
  return findings;
}
