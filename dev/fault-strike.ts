/**
 * Lets one fault strike an asset in the phase that it is meant for: sets the trap, waits until the phase walks into it,
 * and lifts it again. What was passed before it could strike is told as such.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Asset } from "../schemas/asset.ts";
import { FaultControl } from "./fault-control.ts";
import type { FaultLink } from "./fault-link.ts";
import { type Hold, holds, isPast } from "./fault-phase.ts";
import {
  describeFault,
  type Fault,
  type LinkFault,
  r2RuleOf,
  ruleOf,
  type Strike,
  type StruckLink,
} from "./fault-plan.ts";
import { type FaultRule, type Only, pass } from "./fault-rule.ts";
import type { LinkName } from "./stack-fault.ts";
import type { StackRun } from "./stack-run.ts";

/** What a strike finds around it. */
export type Scene = {
  stack: StackRun;
  origin: FaultLink | null;
  asset(): Asset | null;
  say(line: string): void;
};

export type StrikeOutcome = { strike: Strike; struck: boolean };

const pollMs = 40;
const holdMs = 300_000;
/** From when the trap is set: several phases may come before, and eviction waits for the timer of every minute. */
const catchTimeoutMs = 300_000;
/** A fault on another link than the one by which the phase was caught. */
const besideTimeoutMs = 15_000;

export type Course = {
  /** What brings the phase about, once the trap is set. */
  begin?(): Promise<void>;
  /** What is done while the fault lasts. */
  meanwhile?(): Promise<void>;
};

export async function carryOut(strike: Strike, scene: Scene, course: Course): Promise<StrikeOutcome> {
  const begin = async () => await course.begin?.();
  const { phase, fault, forMs } = strike;
  const hold = holds[phase];
  const told = `${phase}: ${describeFault(fault)}`;
  const struck = strikesByItself(fault, hold)
    ? await layTrap(strike, scene, begin)
    : await strikeWhenCaught(strike, hold, scene, begin);
  if (!struck) scene.say(`${told}: it was passed before the fault could strike`);
  else {
    scene.say(told);
    await Promise.all([sleep(forMs), course.meanwhile?.()]);
  }
  await lift(fault, scene);
  if (struck) scene.say(fault.kind === "kill" ? `${fault.victim} is being started again` : `${told}, lifted`);
  return { strike, struck };
}

/** Whether two strikes would be in each other's way: a kill is in everybody's. */
export function touches(a: Strike, b: Strike): boolean {
  if (a.fault.kind === "kill" || b.fault.kind === "kill") return true;
  const mine = linksOf(a);
  return linksOf(b).some((link) => mine.includes(link));
}

function linksOf({ phase, fault }: Strike): string[] {
  const hold = holds[phase];
  return [
    fault.kind === "link" ? fault.link : fault.kind,
    ...(hold === null || strikesByItself(fault, hold) ? [] : [hold.link]),
  ];
}

/** Whether the rule can tell the phase's exchanges from others, so that nobody has to hold the door. */
function strikesByItself(fault: Fault, hold: Hold | null): boolean {
  if (fault.kind === "kill" || hold === null) return false;
  if (fault.kind === "r2") return true;
  const whole: readonly LinkFault[] = ["refuse", "throttle"];
  if (fault.link === hold.link) return !whole.includes(fault.fault);
  return quietLinks.includes(fault.link);
}

/** Links that carry something in one phase only. */
const quietLinks: readonly StruckLink[] = ["worker-origin", "worker-agent", "agent-api"];

async function layTrap(strike: Strike, scene: Scene, begin: () => Promise<void>): Promise<boolean> {
  const { phase, fault } = strike;
  const hold = holds[phase];
  const only = fault.kind === "link" && fault.link === hold?.link ? hold.only : null;
  await apply(fault, only, scene);
  await begin();
  return await untilStruck(() => timesStruck(fault, scene), 1, phase, scene, catchTimeoutMs);
}

async function strikeWhenCaught(
  strike: Strike,
  hold: Hold | null,
  scene: Scene,
  begin: () => Promise<void>,
): Promise<boolean> {
  const { fault, holdBefore } = strike;
  if (hold === null) {
    await begin();
    await apply(fault, null, scene);
    return true;
  }
  const { link, only, exchanges } = hold;
  await setLink(
    scene,
    link,
    holdBefore ? { kind: "stall", lasting: false, only } : { kind: "slow-first-byte", delayMs: holdMs, only },
  );
  await begin();
  const held = async () => (await (await control(scene)).link(link)).struck;
  const caught = await untilStruck(held, exchanges, strike.phase, scene, catchTimeoutMs);
  if (caught) await apply(fault, null, scene);
  if (fault.kind !== "link" || fault.link !== link) await setLink(scene, link, pass);
  if (!caught || fault.kind === "kill") return caught;
  // Caught and let go, the asset may be a phase further when the fault meets its first exchange.
  return await untilStruck(() => timesStruck(fault, scene), 1, null, scene, besideTimeoutMs);
}

async function untilStruck(
  times: () => Promise<number>,
  wanted: number,
  /** Gives up when this is over. */
  phase: Strike["phase"] | null,
  scene: Scene,
  timeoutMs: number,
): Promise<boolean> {
  const deadlineMs = performance.now() + timeoutMs;
  while (performance.now() < deadlineMs) {
    if ((await times()) >= wanted) return true;
    const asset = scene.asset();
    if (phase !== null && asset !== null && isPast(phase, asset)) return false;
    await sleep(pollMs);
  }
  return false;
}

async function apply(fault: Fault, only: Only | null, scene: Scene): Promise<void> {
  switch (fault.kind) {
    case "kill":
      return await kill(fault.victim, scene.stack);
    case "link":
      return await setLink(scene, fault.link, ruleOf(fault.fault, only));
    case "r2":
      await (await control(scene)).setR2([r2RuleOf(fault.fault)]);
  }
}

async function lift(fault: Fault, scene: Scene): Promise<void> {
  if (fault.kind === "link") await setLink(scene, fault.link, pass);
  if (fault.kind === "r2") await (await control(scene)).setR2([]);
}

/** What is killed alone, the stack's supervisor starts again. */
async function kill(victim: Extract<Fault, { kind: "kill" }>["victim"], stack: StackRun): Promise<void> {
  if (victim !== "stack") {
    await stack.signalChild(victim, "SIGKILL", "group");
    return;
  }
  await stack.killEverything();
  await stack.start();
}

async function timesStruck(fault: Fault, scene: Scene): Promise<number> {
  switch (fault.kind) {
    case "kill":
      return 1;
    case "link":
      if (fault.link === "worker-origin") return scene.origin?.status().struck ?? 0;
      return (await (await control(scene)).link(fault.link)).struck;
    case "r2":
      return (await (await control(scene)).r2()).struck;
  }
}

async function setLink(scene: Scene, link: StruckLink, rule: FaultRule): Promise<void> {
  if (link === "worker-origin") scene.origin?.setRule(rule);
  else await (await control(scene)).setLink(link satisfies LinkName, rule);
}

/** Read again each time: a stack that was started again has another token. */
async function control(scene: Scene): Promise<FaultControl> {
  return new FaultControl(await scene.stack.file());
}
