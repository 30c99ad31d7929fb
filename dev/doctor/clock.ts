/** Clocks against each other: a signature that is 15 minutes off is refused, a token or a webhook sooner. */
import { check, failed, type Group, notCheckable, ok, type Verdict } from "./check.ts";
import type { ClockReading, World } from "./world.ts";

export const machineClock = "this machine";
const farthestMs = 60_000;

/** Where as many say one thing as the other, the first of these is believed. */
const trusted = ["store", "worker", "Cloudflare's API", machineClock, "lucid-agent"];

/** @returns the offset that most clocks agree on */
function agreedOffset(readings: ReadonlyMap<string, ClockReading>): number {
  let best = { offsetMs: 0, agreeing: 0 };
  for (const name of trusted) {
    const offsetMs = readings.get(name)?.offsetMs;
    if (offsetMs === undefined) continue;
    const near = [...readings.values()].filter((other) => Math.abs(other.offsetMs - offsetMs) <= farthestMs);
    if (near.length > best.agreeing) best = { offsetMs, agreeing: near.length };
  }
  return best.offsetMs;
}

function spanOf(ms: number): string {
  const seconds = Math.round(Math.abs(ms) / 1000);
  const span = seconds < 120 ? `${seconds} s` : `${Math.round(seconds / 60)} min`;
  return `${span} ${ms > 0 ? "ahead of" : "behind"} the others`;
}

export function judgeClock(name: string, readings: ReadonlyMap<string, ClockReading>): Verdict {
  const own = readings.get(name);
  if (own === undefined) return notCheckable("It told no time.");
  if (readings.size < 2) return notCheckable("There is no other clock to compare it with.");
  const skewMs = own.offsetMs - agreedOffset(readings);
  if (Math.abs(skewMs) <= farthestMs) return ok();
  const isOurs = name === machineClock || name === "lucid-agent";
  return failed(
    `${spanOf(skewMs)}: signatures, tokens and webhooks are refused as too old or too new.`,
    isOurs ? "On that machine: timedatectl set-ntp true" : "Tell its provider: nothing here sets it.",
  );
}

const names = ["store", "worker", "Cloudflare's API", "lucid-agent", machineClock];

export const clockGroup: Group<World> = {
  title: "Clocks",
  checks: async () =>
    names.map((name) =>
      check({
        name,
        gather: async ({ clocks }: World) => new Map([...clocks, [machineClock, { offsetMs: 0 }]]),
        judge: (readings) => judgeClock(name, readings),
      }),
    ),
};
