/** Findings as people read them: grouped, a mark each, and below what is wrong the command that repairs it. */
import { bad, bold, dim, good, warm } from "../paint.ts";
import { padEnd, textWidth } from "../text-width.ts";
import type { Finding } from "./check.ts";

const marks: Readonly<Record<Finding["outcome"], string>> = {
  ok: good("✓"),
  failed: bad("✗"),
  "not-checkable": warm("?"),
};

export type Tally = Record<Finding["outcome"], number>;

export function tallyOf(findings: readonly Finding[]): Tally {
  const tally: Tally = { ok: 0, failed: 0, "not-checkable": 0 };
  for (const { outcome } of findings) tally[outcome] += 1;
  return tally;
}

/** Names stand in one column; details may run over the edge, since commands are for copying. */
export function reportLines(findings: readonly Finding[]): string[] {
  const width = Math.max(0, ...findings.map(({ name }) => textWidth(name)));
  const lines: string[] = [];
  let group: string | null = null;
  for (const finding of findings) {
    if (finding.group !== group) lines.push("", bold(finding.group));
    group = finding.group;
    const { outcome, name, detail, fix } = finding;
    const told = outcome === "failed" ? detail : dim(detail);
    lines.push(`  ${marks[outcome]} ${padEnd(name, width)}  ${told}`.trimEnd());
    if (fix !== null) lines.push(`    ${dim("→")} ${fix}`);
  }
  const tally = tallyOf(findings);
  const counts = [`${tally.ok} ok`, `${tally.failed} failed`, `${tally["not-checkable"]} not checkable`].join(", ");
  return [...lines, "", tally.failed > 0 ? bad(counts) : counts];
}
