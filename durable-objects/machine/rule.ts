/**
 * What a table's cell holds: a named rule. Every state × every event has one, or the table does not compile. Rules change
 * a draft that the transition has cloned, so that the whole stays pure.
 */
import type { StoredAsset } from "../../schemas/asset-state.ts";
import type { Stamp } from "../../schemas/event.ts";
import type { Policy } from "../../schemas/policy.ts";
import type { Effect } from "./effect.ts";

export interface Context {
  readonly stamp: Stamp;
  readonly policy: Policy;
}

export interface Draft extends Context {
  readonly asset: StoredAsset;
  readonly effects: Effect[];
}

/** `ignored`: late, stale or duplicate · `rejected`: cannot happen unless something has a bug. */
export type Verdict = "applied" | "ignored" | "rejected";

export interface Rule<State extends string, Subject, Event> {
  /** Unique in its machine; shown in docs/state-machine.md. */
  readonly name: string;
  /** One sentence for the docs. */
  readonly says: string;
  /** States it may lead to, besides staying. */
  readonly to: readonly State[];
  run(draft: Draft, subject: Subject, event: Event): Verdict;
}

/** A total table: `table[state][event.type]` names what happens. */
export type Table<State extends string, Subject, Event extends { type: string }> = {
  readonly [S in State]: {
    readonly [T in Event["type"]]: Rule<State, Subject, Extract<Event, { type: T }>>;
  };
};

export const ignore: Rule<never, unknown, unknown> = {
  name: "ignore",
  says: "Late, stale or a duplicate: nothing changes.",
  to: [],
  run: () => "ignored",
};

export const reject: Rule<never, unknown, unknown> = {
  name: "reject",
  says: "Cannot happen unless something has a bug: logged, nothing changes.",
  to: [],
  run: () => "rejected",
};

/** Looks the rule up and runs it; a rule that leads to a state it does not name is a bug and stops the transition. */
export function follow<State extends string, Subject, Event extends { type: string }>(
  table: Table<State, Subject, Event>,
  draft: Draft,
  subject: Subject,
  event: Event,
  stateOf: (subject: Subject) => State,
): Verdict {
  const before = stateOf(subject);
  // The cell is indexed by this very event's type; TypeScript cannot correlate the two.
  const rule = table[before][event.type as Event["type"]] as unknown as Rule<State, Subject, Event>;
  const verdict = rule.run(draft, subject, event);
  const after = stateOf(subject);
  if (after !== before && !rule.to.includes(after)) {
    throw new Error(`rule ${rule.name} led from ${before} to ${after}, which it does not name`);
  }
  return verdict;
}
