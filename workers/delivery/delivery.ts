/** One request for a proxy's bytes, admitted: what its helpers need to know of it. */
import type { ProvenPlayback } from "../playback-url.ts";
import type { RequestFacts } from "../problem.ts";
import type { Config, Env } from "../stores/config.ts";
import type { ByteSpan, RangeSpec } from "./byte-range.ts";

export interface Delivery {
  env: Env;
  config: Config;
  ctx: Pick<ExecutionContext, "waitUntil">;
  facts: RequestFacts;
  target: ProvenPlayback;
  range: RangeSpec;
  headOnly: boolean;
  nowMs: number;
}

/** `cache`: this location's own copy of a small proxy in demand. */
export type ServedFrom = "cache" | "r2" | "wasabi";

export interface Content {
  /** null for a HEAD. */
  body: ReadableStream<Uint8Array> | null;
  sizeBytes: number;
  span: ByteSpan;
  /** Ends the body from outside; null where its tier offers no way. */
  giveUp: ((cause: Error) => void) | null;
  /** R2's; Wasabi's would be another for the same bytes. */
  lastModified: Date | null;
  servedFrom: ServedFrom;
}
