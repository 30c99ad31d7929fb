/** What a command's work is done with, and how it may end. */
import type { AssetDoor, OpVerb } from "../../durable-objects/asset-door.ts";
import type { AssetEvent } from "../../schemas/event.ts";
import type { StepRef } from "../../schemas/step.ts";
import type { Config, Env } from "../stores/config.ts";
import { StoreFailure } from "../stores/store-failure.ts";
import { type WasabiStore, wasabiStore } from "../stores/wasabi.ts";

export interface Workbench {
  env: Env;
  config: Config;
  wasabi: WasabiStore;
  door: AssetDoor;
  step: StepRef;
  op: number;
  /** Of a transfer's message: those of its parts that nobody has moved yet. */
  awaited: readonly number[];
  /** Fires when the command is no longer wanted, or its time is over. */
  signal: AbortSignal;
  /** Asks for the key just before a change that cannot be undone. @throws NotWanted, StoreFailure NOT_READY when busy */
  claim(verb: OpVerb): Promise<void>;
}

/**
 * The facts that the work established, told in this order. Empty when somebody else will tell: the agent by its
 * callback, or the messages that follow in a transfer. Expected failures are thrown as StoreFailure.
 */
export type Facts = AssetEvent[];

/** The object no longer wants this command: nothing is told, and nothing of it stays. */
export class NotWanted extends Error {
  override readonly name = "NotWanted";
}

interface Told {
  /** Told after the failure: a lost archive found while copying from it, parts that did arrive. */
  facts?: Facts;
  /** Of a transfer's message: the parts that did not move. */
  parts?: number[];
  /** The transfer cannot be completed in its upload. Such a failure is tried again, whatever its code. */
  startOver?: boolean;
}

/** A failure that says more than its code. */
export class ToldFailure extends StoreFailure {
  readonly facts: Facts;
  readonly parts: number[] | undefined;
  readonly startOver: boolean;

  constructor(failure: StoreFailure, { facts = [], parts, startOver = false }: Told) {
    const { code, message, retryable, retryAfterMs } = failure;
    super(code, message, { retryable: retryable || startOver, retryAfterMs });
    this.facts = facts;
    this.parts = parts;
    this.startOver = startOver;
  }
}

export const tools = (env: Env, config: Config) => ({ env, config, wasabi: wasabiStore(config.wasabi) });
