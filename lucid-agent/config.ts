/** The agent's settings, from flags and the environment (flags win), checked once. Secrets come by environment only. */
import { createHash } from "node:crypto";
import { homedir } from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { z } from "zod";
import { firstOfEachPath, issueSentence } from "../schemas/issue-sentence.ts";

const GIB = 1024 ** 3;
const Flag = z.stringbool({ truthy: ["true", "1", "yes", "on"], falsy: ["false", "0", "no", "off"] });
const Bytes = z.coerce.number().int().nonnegative();
const Directory = z
  .string()
  .min(1)
  .transform((value) => path.resolve(value));

/** A Standard Webhooks secret, as its raw bytes. */
const WebhookSecret = z
  .string()
  .regex(/^whsec_[A-Za-z0-9+/]+={0,2}$/, "must be whsec_ and base64")
  .transform((secret) => Buffer.from(secret.slice("whsec_".length), "base64"))
  .refine((key) => key.length >= 24 && key.length <= 64, "must hold 24–64 bytes");

const Settings = z.object({
  host: z.string().min(1).default("127.0.0.1"),
  port: z.coerce.number().int().min(0).max(65_535).default(8484),
  root: Directory.default("/mnt/lucidlink/motionmavericks"),
  stateDir: Directory.optional(),
  probe: z.enum(["plain", "lucid"]).default("plain"),
  lucidBin: z.string().min(1).default("lucid"),
  lucidInstance: z.string().min(1).optional(),
  requireMount: Flag.optional(),
  mountPoint: Directory.optional(),
  minFreeBytes: Bytes.default(GIB),
  concurrency: z.coerce.number().int().min(1).max(16).default(2),
  callbackUrl: z.url({ protocol: /^https?$/ }).optional(),
  logLevel: z.enum(["debug", "info", "warn", "error", "silent"]).default("info"),
  token: z.string().min(16, "must hold 16 characters or more"),
  callbackSecret: WebhookSecret,
});

export interface AgentConfig {
  host: string;
  port: number;
  root: string;
  stateDir: string;
  /** The directory that must be a mount point; null when a plain folder will do. */
  mountPoint: string | null;
  minFreeBytes: number;
  probe: { kind: "plain" } | { kind: "lucid"; binary: string; instanceId: string | null };
  concurrency: number;
  callbackOrigin: string | null;
  logLevel: string;
  token: string;
  callbackKey: Buffer;
}

const flags = {
  host: "LUCID_AGENT_HOST",
  port: "LUCID_AGENT_PORT",
  root: "LUCID_AGENT_ROOT",
  "state-dir": "LUCID_AGENT_STATE_DIR",
  probe: "LUCID_AGENT_PROBE",
  "lucid-bin": "LUCID_AGENT_LUCID_BIN",
  "lucid-instance": "LUCID_AGENT_LUCID_INSTANCE",
  "require-mount": "LUCID_AGENT_REQUIRE_MOUNT",
  "mount-point": "LUCID_AGENT_MOUNT_POINT",
  "min-free-bytes": "LUCID_AGENT_MIN_FREE_BYTES",
  concurrency: "LUCID_AGENT_CONCURRENCY",
  "callback-url": "LUCID_AGENT_CALLBACK_URL",
  "log-level": "LUCID_AGENT_LOG_LEVEL",
} as const;

export const help = `lucid-agent: places proxies in the LucidLink tree, beside the mount.

Usage: node lucid-agent/main.ts [flags]

  --host ADDRESS         where to listen (127.0.0.1)
  --port N               0 takes a free one (8484)
  --root DIR             the tree's root (/mnt/lucidlink/motionmavericks)
  --state-dir DIR        transfers under way, mode 0700 ($STATE_DIRECTORY, else below ~/.local/state)
  --probe plain|lucid    when a file is durable: once synced, or once LucidLink has uploaded it (plain)
  --lucid-bin FILE       LucidLink's command line (lucid)
  --lucid-instance ID    which of its instances
  --require-mount BOOL   refuse while nothing is mounted (true with --probe lucid, else false)
  --mount-point DIR      what must be mounted; the root lies at or below it (the root)
  --min-free-bytes N     refuse what would leave less free (1 GiB)
  --concurrency N        files copied at once (2)
  --callback-url URL     callbacks go to this URL's origin only
  --log-level LEVEL      debug, info, warn, error, silent (info)
  --help

Each flag has a variable: --min-free-bytes is LUCID_AGENT_MIN_FREE_BYTES. By environment only:
  LUCID_AGENT_TOKEN            the bearer token that callers show
  LUCID_AGENT_CALLBACK_SECRET  whsec_…, signs the callbacks
`;

export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

/**
 * @returns null when help was asked for
 * @throws ConfigError naming every setting that is wrong, never its value
 */
export function readConfig(args: string[], env: Record<string, string | undefined>): AgentConfig | null {
  const options = Object.fromEntries(Object.keys(flags).map((name) => [name, { type: "string" as const }]));
  const { values } = parseOrExplain(args, { ...options, help: { type: "boolean" as const } });
  if (values.help === true) return null;
  const given: Record<string, unknown> = {
    token: env.LUCID_AGENT_TOKEN,
    callbackSecret: env.LUCID_AGENT_CALLBACK_SECRET,
  };
  const nameOf: Record<string, string> = {
    token: "LUCID_AGENT_TOKEN",
    callbackSecret: "LUCID_AGENT_CALLBACK_SECRET",
  };
  for (const [flag, variable] of Object.entries(flags)) {
    const property = flag.replace(/-(\w)/g, (_dash, letter: string) => letter.toUpperCase());
    // An empty variable is one that a unit file left out.
    given[property] = values[flag] ?? (env[variable] || undefined);
    nameOf[property] = `--${flag} (${variable})`;
  }
  const parsed = Settings.safeParse(given, { error: issueSentence });
  if (!parsed.success) {
    const lines = firstOfEachPath(parsed.error.issues).map(
      ({ path: where, message }) => `${nameOf[String(where[0])]} ${message}`,
    );
    throw new ConfigError(lines.join("\n"));
  }
  return configOf(parsed.data, env);
}

function parseOrExplain<Options extends NonNullable<Parameters<typeof parseArgs>[0]>["options"]>(
  args: string[],
  options: Options,
): { values: Record<string, unknown> } {
  try {
    return parseArgs({ args, options, strict: true, allowPositionals: false });
  } catch (error) {
    throw new ConfigError(error instanceof Error ? error.message : "the flags cannot be read", { cause: error });
  }
}

function configOf(settings: z.infer<typeof Settings>, env: Record<string, string | undefined>): AgentConfig {
  const { host, port, root, minFreeBytes, concurrency, logLevel, token } = settings;
  const requireMount = settings.requireMount ?? settings.probe === "lucid";
  const mountPoint = settings.mountPoint ?? root;
  const stateDir = settings.stateDir ?? defaultStateDir(root, env);
  const relative = path.relative(root, stateDir);
  if (relative === "" || !(relative.startsWith("..") || path.isAbsolute(relative))) {
    throw new ConfigError("--state-dir must lie outside the root: it holds presigned URLs.");
  }
  return {
    host,
    port,
    root,
    stateDir,
    mountPoint: requireMount ? mountPoint : null,
    minFreeBytes,
    probe:
      settings.probe === "plain"
        ? { kind: "plain" }
        : { kind: "lucid", binary: settings.lucidBin, instanceId: settings.lucidInstance ?? null },
    concurrency,
    callbackOrigin: settings.callbackUrl === undefined ? null : new URL(settings.callbackUrl).origin,
    logLevel,
    token,
    callbackKey: settings.callbackSecret,
  };
}

/** systemd's, else one for each root, so that two agents on one machine do not meet. */
function defaultStateDir(root: string, env: Record<string, string | undefined>): string {
  if (env.STATE_DIRECTORY) return path.resolve(env.STATE_DIRECTORY);
  const base = env.XDG_STATE_HOME || path.join(env.HOME || homedir(), ".local", "state");
  return path.join(base, "lucid-agent", createHash("sha256").update(root).digest("hex").slice(0, 16));
}
