/** Where wrangler looks for the worker's required secrets when the workers suite reads wrangler.toml. */
import { unstable_readConfig as readConfig } from "wrangler";
import { testBindings } from "./bindings.ts";

/**
 * Changes this process's environment. wrangler warns of each secret that is missing there, before it sees the bindings
 * that the suite gives; at `warn` it does not say before every file that it found them.
 */
export function offerSecrets(): void {
  const values: Record<string, string> = testBindings;
  for (const name of readConfig({ config: "./wrangler.toml" }).secrets?.required ?? [])
    process.env[name] = values[name];
  process.env.WRANGLER_LOG ??= "warn";
}
