/** lucid-agent's entry: reads the settings, starts, says where it listens, and stops cleanly on a signal. */
import { startAgent } from "./agent.ts";
import { type AgentConfig, ConfigError, help, readConfig } from "./config.ts";
import { createLog } from "./log.ts";

const graceMs = 10_000;

async function run(config: AgentConfig): Promise<void> {
  const log = createLog(config.logLevel);
  const agent = await startAgent(config, log);
  const { root, mountPoint, probe, stateDir } = config;
  log.info(
    { event: "ready", url: agent.url, root, mountPoint, probe: probe.kind, stateDir, pid: process.pid },
    "ready",
  );
  if (mountPoint === null) log.warn("no mount is required: files land in the root whatever it is");

  let stopping = false;
  const stop = (signal: string) => {
    if (stopping) return;
    stopping = true;
    log.info({ signal }, "stopping");
    // A hung mount holds its calls for ever; the journal makes leaving safe.
    setTimeout(() => process.exit(1), graceMs).unref();
    agent.stop().then(
      () => {
        log.info("stopped");
        process.exit(0);
      },
      (error: unknown) => {
        log.error({ err: error }, "did not stop cleanly");
        process.exit(1);
      },
    );
  };
  process.on("SIGTERM", () => stop("SIGTERM"));
  process.on("SIGINT", () => stop("SIGINT"));
}

try {
  const config = readConfig(process.argv.slice(2), process.env);
  if (config === null) process.stdout.write(help);
  else await run(config);
} catch (error) {
  // A refused setting is the operator's to fix: no stack.
  const told =
    error instanceof ConfigError
      ? `${error.message}\n\nSee node lucid-agent/main.ts --help`
      : error instanceof Error
        ? (error.stack ?? error.message)
        : error;
  process.stderr.write(`lucid-agent: ${told}\n`);
  process.exitCode = error instanceof ConfigError ? 2 : 1;
}
