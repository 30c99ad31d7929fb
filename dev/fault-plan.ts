/**
 * From a seed and a run's number to everything that run does: which file comes in by which way, what goes wrong, when and
 * for how long, and how it must end. Pure, so that a run is told apart from its repetition by nothing but time.
 */
import type { FailureCode } from "../schemas/failure.ts";
import { type Phase, phases } from "./fault-phase.ts";
import type { FaultRule, Only } from "./fault-rule.ts";
import type { R2Rule } from "./r2-fault.ts";
import { type SeededRandom, seededRandom } from "./seeded-random.ts";
import type { LinkName } from "./stack-fault.ts";

export type Victim = "worker" | "wasabi" | "gpu-runner" | "lucid-agent" | "stack";
/** The origin server of a URL is nobody's process: only its link can be struck. */
export type StruckLink = LinkName | "worker-origin";
export type LinkFault =
  | "refuse"
  | "cut"
  | "stall"
  | "lasting-stall"
  | "throttle"
  | "503"
  | "503-retry-after"
  | "slow-down"
  | "rate-limit"
  | "slow-first-byte";
export type R2Fault = R2Rule["kind"];

export type Fault =
  | { kind: "kill"; victim: Victim }
  | { kind: "link"; link: StruckLink; fault: LinkFault }
  | { kind: "r2"; fault: R2Fault };

export type Strike = {
  phase: Phase;
  fault: Fault;
  /** From the moment it struck until it is lifted. */
  forMs: number;
  /** Whether the exchange by which the phase is caught is held before it is carried out, or only its answer. */
  holdBefore: boolean;
};

/** What never heals, and the reason that must be told. */
export type Doom = Extract<
  FailureCode,
  "ORIGINAL_MISSING" | "SOURCE_REFUSED" | "CHECKSUM_MISMATCH" | "INVALID_MEDIA" | "SIZE_MISMATCH"
>;

export type RunPlan = {
  run: number;
  clip: "small" | "parts";
  source: "in-place" | "elsewhere" | "url";
  strikes: Strike[];
  doom: Doom | null;
  /** Nobody plays its proxies for some seconds, they leave R2, and are played again. */
  evicts: boolean;
};

export function faultName(fault: Fault): string {
  switch (fault.kind) {
    case "kill":
      return `kill -9 ${fault.victim}`;
    case "link":
      return fault.fault;
    case "r2":
      return `R2 ${fault.fault}`;
  }
}

/** With the link, where there is one. */
export function describeFault(fault: Fault): string {
  return fault.kind === "link" ? `${fault.fault} on ${fault.link}` : faultName(fault);
}

const httpFaults: readonly LinkFault[] = [
  "refuse",
  "cut",
  "stall",
  "lasting-stall",
  "throttle",
  "503",
  "503-retry-after",
  "slow-first-byte",
];
const s3Faults: readonly LinkFault[] = [...httpFaults, "slow-down", "rate-limit"];

type Struck = { links: readonly StruckLink[]; r2: readonly R2Fault[]; victims: readonly Victim[] };

/** What can go wrong in a phase: links that carry something then, and processes that it needs. */
const struckIn: Readonly<Record<Phase, Struck>> = {
  archiving: { links: ["worker-wasabi", "worker-origin"], r2: [], victims: ["worker", "wasabi", "stack"] },
  telling: { links: ["worker-app"], r2: [], victims: ["worker", "stack"] },
  claiming: { links: ["runner-api", "worker-pull"], r2: [], victims: ["worker", "gpu-runner", "stack"] },
  encoding: { links: ["runner-wasabi", "runner-api"], r2: [], victims: ["worker", "wasabi", "gpu-runner", "stack"] },
  uploading: { links: ["runner-wasabi", "runner-api"], r2: [], victims: ["worker", "wasabi", "gpu-runner", "stack"] },
  completing: { links: ["worker-wasabi"], r2: [], victims: ["worker", "wasabi", "gpu-runner", "stack"] },
  "placing-r2": {
    links: ["worker-wasabi"],
    r2: ["error", "lost-answer", "slow"],
    victims: ["worker", "wasabi", "stack"],
  },
  "placing-lucidlink": {
    links: ["agent-wasabi", "worker-agent", "agent-api"],
    r2: [],
    victims: ["worker", "wasabi", "lucid-agent", "stack"],
  },
  evicting: {
    links: ["worker-wasabi"],
    r2: ["error", "lost-answer", "slow"],
    victims: ["worker", "wasabi", "stack"],
  },
  promoting: {
    links: ["worker-wasabi"],
    r2: ["error", "lost-answer", "slow"],
    victims: ["worker", "wasabi", "stack"],
  },
  idle: {
    links: [],
    r2: ["error", "slow", "short"],
    victims: ["worker", "wasabi", "gpu-runner", "lucid-agent", "stack"],
  },
};

export function faultsIn(phase: Phase): Fault[] {
  const { links, r2, victims } = struckIn[phase];
  const faultsOf = (link: StruckLink) => (link.endsWith("-wasabi") ? s3Faults : httpFaults);
  return [
    ...links.flatMap((link) => faultsOf(link).map((fault): Fault => ({ kind: "link", link, fault }))),
    ...r2.map((fault): Fault => ({ kind: "r2", fault })),
    ...victims.map((victim): Fault => ({ kind: "kill", victim })),
  ];
}

type Case = { phase: Phase; fault: Fault };

const everyCase: readonly Case[] = phases.flatMap((phase) => faultsIn(phase).map((fault) => ({ phase, fault })));
const evictionPhases: readonly Phase[] = ["evicting", "promoting"];
/** One run in so many carries what never heals. */
const doomEvery = 6;
const dooms = ["ORIGINAL_MISSING", "SOURCE_REFUSED", "CHECKSUM_MISMATCH", "INVALID_MEDIA", "SIZE_MISMATCH"] as const;

/** The first strikes of a seed's runs go through the shuffled cases one by one, so that many runs cover much. */
function firstCase(seed: number, run: number): Case {
  const round = Math.floor((run - 1) / everyCase.length);
  const deck = seededRandom(seed, -1, round).shuffle(everyCase);
  return deck[(run - 1) % deck.length] ?? { phase: "idle", fault: { kind: "kill", victim: "worker" } };
}

function strikeOf({ phase, fault }: Case, random: SeededRandom): Strike {
  return { phase, fault, forMs: 1_500 + random.below(3_000), holdBefore: random.below(2) === 0 };
}

/** Up to two more, in phases that the first allows: an eviction's faults come when all else is over. */
function moreCases(first: Case, random: SeededRandom): Case[] {
  const evicts = evictionPhases.includes(first.phase);
  const open = everyCase.filter((each) => each !== first && evicts === evictionPhases.includes(each.phase));
  return random.shuffle(open).slice(0, random.below(3));
}

const onOrigin = ({ fault }: Case) => fault.kind === "link" && fault.link === "worker-origin";
const inOrder = (a: Strike, b: Strike) => phases.indexOf(a.phase) - phases.indexOf(b.phase);

export function planRun(seed: number, run: number): RunPlan {
  const random = seededRandom(seed, run);
  if (run % doomEvery === 0) return doomedRun(run, random.pick(dooms), random);
  const first = firstCase(seed, run);
  const cases = [first, ...moreCases(first, random)];
  const source = random.pick<RunPlan["source"]>(["in-place", "in-place", "elsewhere", "url"]);
  return {
    run,
    clip: random.pick<RunPlan["clip"]>(["small", "parts"]),
    source: cases.some(onOrigin) ? "url" : source,
    strikes: cases.map((each) => strikeOf(each, random)).sort(inOrder),
    doom: null,
    evicts: cases.some(({ phase }) => evictionPhases.includes(phase)),
  };
}

/** Its healing faults come early: what is doomed does not get far. */
function doomedRun(run: number, doom: Doom, random: SeededRandom): RunPlan {
  const fromUrl = doom === "SOURCE_REFUSED" || doom === "CHECKSUM_MISMATCH";
  const early = everyCase.filter((each) => {
    if (onOrigin(each)) return fromUrl;
    return each.phase === "archiving" || (doom === "INVALID_MEDIA" && each.phase === "encoding");
  });
  const strikes = random
    .shuffle(early)
    .slice(0, 1 + random.below(2))
    .map((each) => strikeOf(each, random));
  return {
    run,
    clip: "small",
    source: fromUrl ? "url" : "in-place",
    strikes: strikes.sort(inOrder),
    doom,
    evicts: false,
  };
}

/** What a link is told; `refuse` and `throttle` strike all of it, the others the exchanges that are named, if any are. */
export function ruleOf(fault: LinkFault, struck: Only | null): FaultRule {
  const only = struck === null ? {} : { only: struck };
  switch (fault) {
    case "refuse":
      return { kind: "refuse" };
    case "throttle":
      return { kind: "throttle", bytesPerSecond: 16 * 1024 };
    case "cut":
      return { kind: "cut", after: { share: 1 / 3 }, ...only };
    case "stall":
    case "lasting-stall":
      return { kind: "stall", lasting: fault === "lasting-stall", ...only };
    case "503":
      return { kind: "answer", answer: "503", ...only };
    case "503-retry-after":
      return { kind: "answer", answer: "503", retryAfterSeconds: 2, ...only };
    case "slow-down":
    case "rate-limit":
      return { kind: "answer", answer: fault, ...only };
    case "slow-first-byte":
      return { kind: "slow-first-byte", delayMs: 3_000, ...only };
  }
}

/** What the R2 binding is told. */
export function r2RuleOf(fault: R2Fault): R2Rule {
  switch (fault) {
    case "error":
    case "lost-answer":
      return { kind: fault, operation: "any" };
    case "slow":
      return { kind: "slow", operation: "any", delayMs: 2_000 };
    case "short":
      return { kind: "short", operation: "get" };
  }
}
