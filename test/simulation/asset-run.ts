/**
 * One asset's machines at work, without the object around them: applies events under a clock that only moves forward,
 * proves every transition against the invariants, and keeps what came out.
 */
import { assetStatus } from "../../durable-objects/machine/asset-status.ts";
import type { Effect } from "../../durable-objects/machine/effect.ts";
import { type Timer, timersOf } from "../../durable-objects/machine/timer.ts";
import { type Transition, transition } from "../../durable-objects/machine/transition.ts";
import type { AssetState } from "../../schemas/asset.ts";
import type { StoredAsset } from "../../schemas/asset-state.ts";
import type { AppEventType } from "../../schemas/command.ts";
import type { AssetEvent, Stamp } from "../../schemas/event.ts";
import { Policy } from "../../schemas/policy.ts";
import { checkIdempotence, checkPurity, checkTransition, deepFrozen } from "./invariant.ts";

export class AssetRun {
  readonly policy: Policy;
  state: StoredAsset | null = null;
  nowMs = Date.UTC(2026, 0, 1);
  readonly announcements: AppEventType[] = [];
  #serial = 0;

  constructor(policy: Policy = Policy.parse({})) {
    this.policy = policy;
  }

  /** @throws Error naming the invariant that the transition breaks. */
  apply(event: AssetEvent): Transition {
    const before = deepFrozen(this.state);
    const context = { stamp: this.#stamp(), policy: deepFrozen(this.policy) };
    const after = transition(before, deepFrozen(event), context);
    checkPurity(before, event, context, after);
    checkTransition(before, event, after);
    checkIdempotence(event, after, { stamp: this.#stamp(), policy: this.policy });
    this.state = after.state;
    for (const effect of after.effects) if (effect.type === "NotifyApp") this.announcements.push(effect.event);
    return after;
  }

  advance(byMs: number): void {
    this.nowMs += byMs;
  }

  /** The earliest deadline, or null when nothing is armed. */
  nextTimer(): Timer | null {
    const timers = this.state === null ? [] : timersOf(this.state);
    return timers.toSorted((a, b) => a.atMs - b.atMs)[0] ?? null;
  }

  /** Moves the clock to the earliest deadline, or to the named one, and lets it fire. */
  fireTimer(name?: string): Transition {
    const named = this.state === null ? null : timersOf(this.state).find((timer) => timer.name === name);
    const timer = name === undefined ? this.nextTimer() : named;
    if (timer === null || timer === undefined) throw new Error(`no timer ${name ?? ""} is armed`);
    this.nowMs = Math.max(this.nowMs, timer.atMs);
    return this.apply(timer.event);
  }

  get asset(): StoredAsset {
    if (this.state === null) throw new Error("there is no asset yet");
    return this.state;
  }

  get status(): AssetState {
    return assetStatus(this.asset);
  }

  #stamp(): Stamp {
    this.#serial += 1;
    return {
      atMs: this.nowMs,
      newId: this.#serial.toString(16).padStart(24, "0"),
      token: `token-${String(this.#serial).padStart(20, "0")}`,
      jitter: (this.#serial * 0.37) % 1,
    };
  }
}

/** What people need to see of effects: everything but the projections. */
export function commandsIn({ effects }: Transition): Effect[] {
  return effects.filter(({ type }) => type !== "PublishCatalogue" && type !== "NotifyApp");
}
