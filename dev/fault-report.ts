/** What was covered by many runs: how often each fault struck in each phase, and each link. Pure. */
import { type Phase, phases } from "./fault-phase.ts";
import { faultName } from "./fault-plan.ts";
import type { StrikeOutcome } from "./fault-strike.ts";
import { type Column, renderTable } from "./table.ts";

const columns = (first: string, names: readonly Phase[]): Column[] => [
  { title: first },
  ...names.map((title): Column => ({ title, align: "right" })),
];

function count(outcomes: readonly StrikeOutcome[], nameOf: (outcome: StrikeOutcome) => string | null): string[][] {
  const rows = new Map<string, number[]>();
  for (const outcome of outcomes) {
    const name = nameOf(outcome);
    if (name === null || !outcome.struck) continue;
    const row = rows.get(name) ?? phases.map(() => 0);
    const at = phases.indexOf(outcome.strike.phase);
    row[at] = (row[at] ?? 0) + 1;
    rows.set(name, row);
  }
  return [...rows]
    .sort(([a], [b]) => a.localeCompare(b))
    .map(([name, row]) => [name, ...row.map((times) => (times === 0 ? "·" : String(times)))]);
}

/** Faults by phase, then links by phase. Only what has struck counts. */
export function coverageTables(outcomes: readonly StrikeOutcome[], maxColumns: number): string[] {
  const faults = count(outcomes, ({ strike }) => faultName(strike.fault));
  const links = count(outcomes, ({ strike: { fault } }) => (fault.kind === "link" ? fault.link : null));
  const missed = outcomes.filter(({ struck }) => !struck).length;
  return [
    ...renderTable(columns("fault", phases), faults, { maxColumns }),
    "",
    ...renderTable(columns("link", phases), links, { maxColumns }),
    ...(missed === 0 ? [] : ["", tellMissed(missed)]),
  ];
}

function tellMissed(count: number): string {
  const faults =
    count === 1 ? "1 fault could not strike: its phase was" : `${count} faults could not strike: their phases were`;
  return `${faults} passed before. Not counted above.`;
}
