/** What a command's work is done with, and how it may end. */
import type { AssetDoor, OpVerb } from "../../durable-objects/asset-door.ts";
import type { AssetEvent } from "../../schemas/event.ts";
import type { Config, Env } from "../stores/config.ts";
import { StoreFailure } from "../stores/store-failure.ts";
import { type WasabiStore, wasabiStore } from "../stores/wasabi.ts";

export interface Workbench {
  env: Env;
  config: Config;
  wasabi: WasabiStore;
  door: AssetDoor;
  /** Fires when the command is no longer wanted, or its time is over. */
  signal: AbortSignal;
  /** Asks for the key just before a change that cannot be undone. @throws NotWanted, StoreFailure NOT_READY when busy */
  claim(verb: OpVerb): Promise<void>;
}

/**
 * The facts that the work established, told in this order. Empty when somebody else will tell: the agent, by its
 * callback. Expected failures are thrown as StoreFailure.
 */
export type Facts = AssetEvent[];

/** The object no longer wants this command: nothing is told, and nothing of it stays. */
export class NotWanted extends Error {
  override readonly name = "NotWanted";
}

/** A failure that also establishes a fact, as a lost archive found while copying from it. */
export class FailureWithFact extends StoreFailure {
  readonly fact: AssetEvent;

  constructor(failure: StoreFailure, fact: AssetEvent) {
    super(failure.code, failure.message, { retryable: failure.retryable, retryAfterMs: failure.retryAfterMs });
    this.fact = fact;
  }
}

export const tools = (env: Env, config: Config) => ({ env, config, wasabi: wasabiStore(config.wasabi) });
