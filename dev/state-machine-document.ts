/** docs/state-machine.md, from the machines' own tables: what each cell does, where each rule leads, what people see. */
import { assetStatus } from "../durable-objects/machine/asset-status.ts";
import { copyTable } from "../durable-objects/machine/copy-table.ts";
import { jobTable } from "../durable-objects/machine/job-table.ts";
import { renditionTable } from "../durable-objects/machine/rendition-table.ts";
import { ignore, reject } from "../durable-objects/machine/rule.ts";
import type { AssetState } from "../schemas/asset.ts";
import { CopyState } from "../schemas/asset-state.ts";
import { CopyTier } from "../schemas/id.ts";
import { markdownTable } from "./markdown-table.ts";

interface NamedRule {
  readonly name: string;
  readonly says: string;
  readonly to: readonly string[];
}

export interface Machine {
  readonly title: string;
  readonly says: string;
  readonly initial: string;
  readonly final: readonly string[];
  readonly table: Readonly<Record<string, Readonly<Record<string, NamedRule>>>>;
}

interface Cell {
  readonly state: string;
  readonly event: string;
  readonly rule: NamedRule;
}

const code = (text: string) => `\`${text}\``;
const isNamed = ({ name }: NamedRule) => name !== ignore.name && name !== reject.name;

function cellsOf({ table }: Machine): Cell[] {
  return Object.entries(table).flatMap(([state, row]) =>
    Object.entries(row).map(([event, rule]) => ({ state, event, rule })),
  );
}

const anchorOf = ({ title }: Machine, { name }: NamedRule) => `${title.toLowerCase()}-${name.toLowerCase()}`;

function cellText(machine: Machine, rule: NamedRule | undefined): string {
  if (rule === undefined) throw new Error(`the ${machine.title} table has a hole`);
  if (rule.name === ignore.name) return "·";
  if (rule.name === reject.name) return "✗";
  return `[${rule.name}](#${anchorOf(machine, rule)})`;
}

function eventTable(machine: Machine): string {
  const states = Object.keys(machine.table);
  const events = [...new Set(cellsOf(machine).map(({ event }) => event))];
  const rows = events.map((event) => [
    code(event),
    ...states.map((state) => cellText(machine, machine.table[state]?.[event])),
  ]);
  return markdownTable(["", ...states.map(code)], rows);
}

/** Several events that lead the same way share one arrow. */
function diagram(machine: Machine): string {
  const arrows = new Map<string, string[]>();
  for (const { state, event, rule } of cellsOf(machine)) {
    for (const to of rule.to) {
      if (to === state) continue;
      const arrow = `${state} --> ${to}`;
      arrows.set(arrow, [...(arrows.get(arrow) ?? []), event]);
    }
  }
  return [
    "stateDiagram-v2",
    "direction LR",
    `[*] --> ${machine.initial}`,
    ...[...arrows].map(([arrow, events]) => `${arrow} : ${events.join("<br/>")}`),
    ...machine.final.map((state) => `${state} --> [*]`),
  ].join("\n  ");
}

function ruleTable(machine: Machine): string {
  const places = new Map<NamedRule, Cell[]>();
  for (const cell of cellsOf(machine)) {
    if (isNamed(cell.rule)) places.set(cell.rule, [...(places.get(cell.rule) ?? []), cell]);
  }
  const rows = [...places].map(([rule, cells]) => [
    `<a id="${anchorOf(machine, rule)}"></a>${code(rule.name)}`,
    whereOf(cells),
    rule.to.map(code).join(", ") || "stays",
    rule.says,
  ]);
  return markdownTable(["Rule", "Where", "Leads to", "What it does"], rows);
}

function whereOf(cells: readonly Cell[]): string {
  const byEvent = Map.groupBy(cells, ({ event }) => event);
  return [...byEvent]
    .map(([event, same]) => `${same.map(({ state }) => code(state)).join(", ")} on ${code(event)}`)
    .join("; ");
}

export function machineSection(machine: Machine): string {
  return `## ${machine.title}

${machine.says}

\`\`\`mermaid
${diagram(machine)}
\`\`\`

${eventTable(machine)}

${ruleTable(machine)}
`;
}

const machines: readonly Machine[] = [
  {
    title: "Job",
    says: "The asset's own progress: from the announced upload to a whole ladder in Wasabi.",
    initial: "received",
    final: ["deleted"],
    table: jobTable,
  },
  {
    title: "Rendition",
    says: "One rung of the ladder: from wanted to verified in Wasabi.",
    initial: "wanted",
    final: [],
    table: renditionTable,
  },
  {
    title: "Copy",
    says: "A rendition's copy on R2 or LucidLink. A step that is put off stays in its state and keeps its deadline.",
    initial: "wanted",
    final: [],
    table: copyTable,
  },
];

const meaning: Readonly<Record<AssetState, string>> = {
  received: "The upload is announced; the original is not verified in Wasabi yet.",
  archived: "The original is verified in Wasabi; a runner is awaited.",
  transcoding: "A runner encodes, or what it uploaded is being completed and verified.",
  distributing: "Every rendition is verified in Wasabi; a wanted copy is not placed (yet).",
  distributed: "Every wanted copy is placed, at least one of them on R2.",
  evicted:
    "Every rendition is in Wasabi and none is on R2; it still plays, from Wasabi, and comes back when asked for.",
  failed: "There is no original, or no way to make renditions of it. A retry resumes.",
  cancelled: "An operator stopped it; what is archived stays. A retry resumes.",
  deleting: "An operator deleted it; until the grace period ends it can be undone.",
  deleted: "A tombstone: the copies are removed.",
};

/** Asks the code itself what people see of an encoded asset with this one copy. */
function statusWithCopy(tier: CopyTier, state: CopyState): AssetState {
  const asset = { job: { state: "encoded" }, renditions: [{ copies: [{ tier, state }] }] };
  return assetStatus(asset as unknown as Parameters<typeof assetStatus>[0]);
}

function derivedSection(): string {
  const states = Object.entries(meaning).map(([state, says]) => [code(state), says]);
  const tiers = CopyTier.options;
  const byCopy = CopyState.options.map((state) => [
    code(state),
    ...tiers.map((tier) => code(statusWithCopy(tier, state))),
  ]);
  return `## What people see

The asset's state is derived: it is the job's own state until the job is \`encoded\`, from then on what its copies say.

${markdownTable(["Asset state", "Meaning"], states)}

An encoded asset whose only copy stands so is seen as:

${markdownTable(["Copy", ...tiers.map((tier) => `on ${tier}`)], byCopy)}

With several copies, one that is wanted, being placed or failed makes the asset \`distributing\`; otherwise one on R2
makes it \`distributed\`. A copy that cannot be placed stays a problem of that copy and never fails a playable asset.
`;
}

export function stateMachineDocument(): string {
  return `<!-- Written by \`npm run docs\` from durable-objects/machine/: change it there. -->
# State machines

Three small machines decide everything about one asset. Each is a total table, every state × every event, one named
rule a cell: **·** ${ignore.says.toLowerCase().replace(/\.$/, "")} (\`${ignore.name}\`); **✗** ${reject.says
    .toLowerCase()
    .replace(/\.$/, "")} (\`${reject.name}\`). A rule that leads anywhere it does not name stops the transition.

${machines.map(machineSection).join("\n")}
${derivedSection()}`;
}
