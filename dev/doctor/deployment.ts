/** The worker and what only it can see: its settings, its database, the agent, runners. Judged from its self-test. */

import { ProblemBody } from "../../schemas/api.ts";
import type { SelfTestCheck, SelfTestReport } from "../../schemas/self-test.ts";
import { pendingMigrations } from "../migration.ts";
import { type Check, check, failed, type Group, notCheckable, ok, type Verdict } from "./check.ts";
import type { Answer } from "./s3-probe.ts";
import type { DoctorSettings } from "./setting.ts";
import { jsonOf, type SelfTestFact, type World } from "./world.ts";

const hourMs = 60 * 60_000;
const dayMs = 24 * hourMs;

const detailOf = ({ text }: Answer) => ProblemBody.safeParse(jsonOf(text)).data?.detail ?? null;

export function judgeHealth(answer: Answer): Verdict {
  if (answer.status === 200) return ok();
  if (answer.status === 0) {
    return failed(
      `Nothing answers at API_URL (${answer.code ?? "no reason"}).`,
      "npx wrangler deployments list; curl -sSI the address",
    );
  }
  const detail = detailOf(answer) ?? `It answered HTTP ${answer.status}.`;
  const fix = detail.includes("settings are not valid")
    ? "Set what it names: npx wrangler secret put NAME, or [vars] in wrangler.toml and npx wrangler deploy."
    : "npx wrangler tail --status error";
  return failed(detail, fix);
}

export function judgeSelfTest({ answer, report }: SelfTestFact): Verdict {
  if (report !== null) return ok();
  const mint = "node docs/examples/mint-token.mjs doctor admin 1h '*' (as docs/deployment.md has it)";
  switch (answer.status) {
    case 0:
      return failed(`It did not answer (${answer.code ?? "no reason"}).`, "npx wrangler tail");
    case 401:
      return failed(`ADMIN_TOKEN is refused: ${detailOf(answer) ?? "no reason was given"}`, mint);
    case 403:
      return failed(`ADMIN_TOKEN is not an admin's of every client: ${detailOf(answer) ?? ""}`, mint);
    case 404:
    case 405:
      return failed("The worker is older than this checkout: it has no self-test.", "npx wrangler deploy");
    default:
      return failed(detailOf(answer) ?? `It answered HTTP ${answer.status}.`, "npx wrangler tail --status error");
  }
}

/** What cannot be known because the self-test did not answer. */
const unasked = notCheckable("The worker's self-test did not answer.");

const fromReport = (name: string, judge: (report: SelfTestReport, world: World) => Verdict): Check<World> =>
  check({
    name,
    gather: ({ selfTest }: World) => selfTest(),
    judge: ({ report }, world) => (report === null ? unasked : judge(report, world)),
  });

const slashless = (url: string) => url.replace(/\/+$/, "");

/** Two descriptions of one deployment: what the worker runs with, and what doctor was told. */
export function judgeSettings({ settings }: SelfTestReport, { apiUrl, wasabi }: DoctorSettings): Verdict {
  const pairs = [
    ["PUBLIC_URL", settings.publicUrl, "API_URL", apiUrl],
    ["WASABI_ENDPOINT", settings.wasabiEndpoint, "WASABI_ENDPOINT", wasabi.endpoint],
    ["WASABI_REGION", settings.wasabiRegion, "WASABI_REGION", wasabi.region],
    ["WASABI_BUCKET", settings.wasabiBucket, "WASABI_BUCKET", wasabi.bucket],
    ["WASABI_ACCESS_KEY_ID", settings.wasabiAccessKeyId, "WASABI_ACCESS_KEY_ID", wasabi.accessKeyId],
  ] as const;
  const faults = pairs
    .filter(([, theirs, , ours]) => slashless(theirs) !== slashless(ours))
    .map(([name, theirs, own, ours]) => `${name} is ${theirs} there, ${own} ${ours} here`);
  if (settings.environment === "production" && settings.clockOffsetMs !== 0) faults.push("CLOCK_OFFSET_MS is not 0");
  if (faults.length === 0) return ok("as the env file says");
  return failed(
    `${faults.join("; ")}: what is checked here is not what the worker uses.`,
    "Make wrangler.toml and the env file say the same, then npx wrangler deploy.",
  );
}

export function judgeOperation({ outcome, detail }: SelfTestCheck): Verdict {
  if (outcome === "ok") return ok(detail);
  if (outcome === "not-checkable") return notCheckable(detail);
  return failed(
    `From inside the worker: ${detail}`,
    "Compare with the Bucket and key checks; if those are ok, npx wrangler tail, and see docs/operations.md, Wasabi.",
  );
}

const operation = (found: SelfTestCheck): Check<World> =>
  check({ name: found.name, gather: async () => found, judge: judgeOperation });

export const workerGroup: Group<World> = {
  title: "Worker",
  async checks({ selfTest }) {
    const { report } = await selfTest();
    return [
      check({ name: "answers", gather: ({ health }: World) => health(), judge: judgeHealth }),
      check({ name: "self-test", gather: ({ selfTest: ask }: World) => ask(), judge: judgeSelfTest }),
      fromReport("settings", (found, { settings }) => judgeSettings(found, settings)),
      ...(report?.checks ?? []).map(operation),
    ];
  },
};

const applyMigrations = "npx wrangler d1 migrations apply motion-mavericks-catalogue --remote";

export function judgeMigrations({ database }: SelfTestReport, files: readonly string[]): Verdict {
  if (database === null)
    return failed("D1 did not answer the worker.", "npx wrangler d1 info motion-mavericks-catalogue");
  const pending = pendingMigrations(files, new Set(database.migrations));
  if (pending.length > 0) return failed(`Not applied: ${pending.join(", ")}. What needs them fails.`, applyMigrations);
  const unknown = database.migrations.filter((name) => !files.includes(name));
  if (unknown.length > 0)
    return notCheckable(`The database is newer than this checkout: it has ${unknown.join(", ")}.`);
  return ok(`all ${files.length} applied`);
}

/** The slowest of the timer's jobs begins once an hour. */
const timerSilenceMs = 2 * hourMs;

export function judgeTimer({ at, database, settings }: SelfTestReport): Verdict {
  const timerAt = database?.timerAt ?? null;
  if (timerAt === null) return notCheckable("It has not run yet; wait two minutes after the first deployment.");
  const silentMs = Date.parse(at) + settings.clockOffsetMs - Date.parse(timerAt);
  if (silentMs <= timerSilenceMs) return ok(`ran at ${timerAt}`);
  return failed(
    `It last ran at ${timerAt}: nothing is swept, and abandoned uploads are billed.`,
    "Deploy again: npx wrangler deploy puts the cron trigger of wrangler.toml in place.",
  );
}

export const databaseGroup: Group<World> = {
  title: "Database and timer",
  checks: async () => [
    fromReport("D1 migrations", (report, { migrationFiles }) => judgeMigrations(report, migrationFiles)),
    fromReport("the minutely timer", judgeTimer),
  ],
};

type Agent = NonNullable<SelfTestReport["agent"]>;

const ofAgent = (name: string, judge: (agent: Agent) => Verdict): Check<World> =>
  fromReport(name, ({ agent }) =>
    agent === null ? notCheckable("LUCID_AGENT_URL is empty: this deployment has no LucidLink.") : judge(agent),
  );

const startAgent = "On its machine: systemctl status lucid-agent; curl -sS http://127.0.0.1:8484/healthz";

export function judgeAgentAnswer({ health, takesToken }: Agent): Verdict {
  if (health === null) return failed("The worker gets no answer at LUCID_AGENT_URL.", startAgent);
  if (takesToken === true) return ok();
  return failed(
    "It refuses the worker's token: LUCID_AGENT_TOKEN differs.",
    "Put the same LUCID_AGENT_TOKEN into /etc/lucid-agent.env and npx wrangler secret put LUCID_AGENT_TOKEN.",
  );
}

export function judgeMount({ health }: Agent): Verdict {
  if (health === null) return notCheckable("The agent did not answer.");
  if (health.mounted) return ok();
  return failed(
    "The filespace is not mounted: nothing can be placed for editors.",
    "On its machine: lucid status; findmnt; then mount it again (docs/lucid-agent.md).",
  );
}

const gib = (bytes: number) => `${(bytes / 1024 ** 3).toFixed(1)} GiB`;

export function judgeSpace({ health }: Agent): Verdict {
  if (health === null || health.freeBytes === null) return notCheckable("The agent cannot see its tree.");
  if (health.freeBytes > health.floorBytes) return ok(`${gib(health.freeBytes)} free`);
  return failed(
    `${gib(health.freeBytes)} free, and it leaves ${gib(health.floorBytes)} untouched: it refuses every file.`,
    "Make room in the filespace or raise its quota; on its machine: df -h, lucid status.",
  );
}

export const agentGroup: Group<World> = {
  title: "lucid-agent",
  checks: async () => [
    ofAgent("answers the worker", judgeAgentAnswer),
    ofAgent("mounted", judgeMount),
    ofAgent("space", judgeSpace),
  ],
};

const runnerSilenceMs = 7 * dayMs;

export function judgePull({ runner: { pullTrouble, waiting } }: SelfTestReport): Verdict {
  if (pullTrouble === null) return waiting === 0 ? notCheckable("No runner waits, so that nobody pulls now.") : ok();
  return failed(
    `The worker cannot pull jobs for the runners: ${pullTrouble}`,
    "npx wrangler secret put QUEUES_TOKEN (Queues: Read and Write); compare TRANSCODE_QUEUE_ID with npx wrangler queues info.",
  );
}

/** A runner that encodes does not wait, and the ledger is written once a day or lease: silence proves nothing. */
export function judgeRunner({ at, runner }: SelfTestReport): Verdict {
  const { waiting, encoding, lastReadDay } = runner;
  if ((waiting ?? 0) > 0 || encoding > 0) return ok(`${waiting ?? 0} waiting, ${encoding} encoding`);
  if (lastReadDay !== null && Date.parse(at) - Date.parse(lastReadDay) <= runnerSilenceMs) {
    return ok(`last read an original on ${lastReadDay}`);
  }
  return notCheckable("None was heard of in the last 7 days. Look at each runner's /healthz, or upload a clip.");
}

export const runnerGroup: Group<World> = {
  title: "Runners",
  checks: async () => [fromReport("seen", judgeRunner), fromReport("jobs can be pulled", judgePull)],
};
