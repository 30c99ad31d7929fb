/** Effects: what a transition asks for. Commands get their id and file when they are stored; documents when they are sent. */
import type { AppEventType, Command } from "../../schemas/command.ts";
import type { RunnerRefusal } from "../../schemas/runner-protocol.ts";

type Documents = "PublishCatalogue" | "NotifyApp";
type Unaddressed<C> = C extends Command ? Omit<C, "id" | "fileId"> : never;

export type StorageEffect = Unaddressed<Exclude<Command, { type: Documents }>>;

export type Effect =
  | StorageEffect
  | { type: "PublishCatalogue" }
  | { type: "NotifyApp"; event: AppEventType }
  /** The runner's lease is over: tell its socket, which kills the encode. */
  | { type: "EndLease"; reason: RunnerRefusal; message: string };
