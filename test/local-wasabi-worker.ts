/** The local S3 as the workers suite's archive: its settings. */
import { inject } from "vitest";
import type { WasabiConfig } from "../workers/stores/config.ts";
import { localWasabi } from "./bindings.ts";

export function localWasabiConfig(): WasabiConfig {
  return { endpoint: inject("wasabiEndpoint"), region: "us-east-1", ...localWasabi };
}
