/** `npm run doctor`: calm about a stack that works, and it names what was planted in one that does not. */
import { spawn } from "node:child_process";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import { eventually } from "../../dev/eventually.ts";
import { choosePorts } from "../../dev/port.ts";
import { localAccountId, pullApiUrl } from "../../dev/pull-queue.ts";
import { mintToken } from "../../dev/secret.ts";
import { startWasabi } from "../../dev/wasabi.ts";
import { startWorker } from "../../dev/worker.ts";
import { localWasabi, testBindings } from "../bindings.ts";
import { type DoctorRun, runDoctor } from "../doctor-run.ts";
import { StackProcess } from "./stack-process.ts";

const fromRoot = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url));

const failuresOf = ({ findings }: DoctorRun) => findings.filter(({ outcome }) => outcome === "failed");
const outcomeOf = ({ findings }: DoctorRun, name: string) => findings.find((found) => found.name === name)?.outcome;

test("a local stack has no failure, what its store cannot tell is not called ok, and no secret is printed", async () => {
  const stack = await StackProcess.start();
  onTestFinished(() => stack.destroy());
  const run = await runDoctor("--data", stack.dataDirectory);
  expect(failuresOf(run)).toEqual([]);
  expect(run.code).toBe(0);
  for (const name of ["HEAD", "If-Match", "D1 migrations", "archive", "mounted", "seen", "this machine"]) {
    expect(outcomeOf(run, name), name).toBe("ok");
  }
  for (const name of ["versioning", "lifecycle: files stay", "CORS", "must not s3:DeleteObject below originals/"]) {
    expect(outcomeOf(run, name), name).toBe("not-checkable");
  }
  const secrets = await readFile(join(stack.dataDirectory, "secrets.json"), "utf8");
  const tokens = Object.values((await stack.facts()).tokens);
  for (const secret of [...secrets.matchAll(/"([^"]{30,})"/g)].map(([, text]) => text ?? "").concat(tokens)) {
    expect(run.output).not.toContain(secret);
  }
});

async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "mmf-doctor-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** wrangler.toml as it is, but for one consumer, and with a folder of migrations that lacks the last. */
async function plantedConfig(folder: string): Promise<{ path: string; missing: string }> {
  const migrations = join(folder, "migrations");
  await cp(fromRoot("migrations"), migrations, { recursive: true });
  const missing = (await readdir(migrations)).sort().at(-1) ?? "";
  await rm(join(migrations, missing));
  const toml = await readFile(fromRoot("wrangler.toml"), "utf8");
  const planted = toml
    .replace(/^main = .*$/m, `main = "${fromRoot("workers/index.ts")}"`)
    .replace(/^migrations_dir = .*$/m, `migrations_dir = "${migrations}"`)
    .replace(/\[\[queues\.consumers\]\]\nqueue = "lucidlink"\n(?:\w.*\n)+/, "");
  expect(planted).not.toMatch(/consumers\]\]\nqueue = "lucidlink"\n/);
  const path = join(folder, "wrangler.toml");
  await writeFile(path, planted);
  return { path, missing };
}

/** The real agent, told to refuse while nothing is mounted, on a folder where nothing is. */
async function startUnmountedAgent(folder: string, port: number): Promise<void> {
  await mkdir(join(folder, "tree"));
  const agent = spawn(process.execPath, [fromRoot("lucid-agent/main.ts")], {
    stdio: "ignore",
    env: {
      ...process.env,
      LUCID_AGENT_PORT: String(port),
      LUCID_AGENT_ROOT: join(folder, "tree"),
      LUCID_AGENT_STATE_DIR: join(folder, "agent"),
      LUCID_AGENT_REQUIRE_MOUNT: "true",
      LUCID_AGENT_TOKEN: testBindings.LUCID_AGENT_TOKEN,
      LUCID_AGENT_CALLBACK_SECRET: testBindings.LUCID_AGENT_CALLBACK_SECRET,
    },
  });
  onTestFinished(() => void agent.kill("SIGKILL"));
  await eventually({ what: "the agent's answer", timeoutMs: 30_000, everyMs: 100 }, async () => {
    const answer = await fetch(`http://127.0.0.1:${port}/healthz`).catch(() => null);
    return answer !== null;
  });
}

/** As a machine whose clock is wrong would answer. */
async function shiftClock(targetPort: number, shiftMs: number): Promise<number> {
  const server = createServer(async (request, response) => {
    const headers = { authorization: request.headers.authorization ?? "" };
    const answer = await fetch(`http://127.0.0.1:${targetPort}${request.url}`, { headers });
    const date = new Date(Date.now() + shiftMs).toUTCString();
    response.writeHead(answer.status, { "content-type": answer.headers.get("content-type") ?? "", date });
    response.end(await answer.text());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  return (server.address() as AddressInfo).port;
}

test("names a queue without consumer, an unapplied migration, an unmounted agent and a clock 10 minutes off", async () => {
  const folder = await temporaryFolder();
  const { path: configPath, missing } = await plantedConfig(folder);
  const ports = await choosePorts({ api: null, pull: null, agent: null });
  await startUnmountedAgent(folder, ports.agent);
  const agentPort = await shiftClock(ports.agent, 10 * 60_000);
  const wasabi = await startWasabi({ port: 0, directory: join(folder, "wasabi"), ...localWasabi });
  onTestFinished(() => wasabi.dispose());
  const api = `http://127.0.0.1:${ports.api}`;
  const queues = {
    QUEUES_API_URL: pullApiUrl(ports.pull),
    CLOUDFLARE_ACCOUNT_ID: localAccountId,
    QUEUES_TOKEN: "pull-token",
  };
  const worker = await startWorker({
    configPath,
    directory: join(folder, "worker"),
    port: ports.api,
    bindings: {
      ...testBindings,
      ENVIRONMENT: "local",
      PUBLIC_URL: api,
      ...queues,
      WASABI_ENDPOINT: wasabi.endpoint,
      LUCID_AGENT_URL: `http://127.0.0.1:${agentPort}`,
    },
    pull: { port: ports.pull, token: queues.QUEUES_TOKEN, queueNames: ["transcode", "transcode-rush"], maxRetries: 3 },
    faultToken: null,
  });
  onTestFinished(() => worker.dispose());

  const env = join(folder, "doctor.env");
  const settings = {
    API_URL: api,
    ADMIN_TOKEN: await mintToken(JSON.parse(testBindings.JWT_KEYS), "admin", "doctor", "1h"),
    WASABI_ENDPOINT: wasabi.endpoint,
    WASABI_REGION: testBindings.WASABI_REGION,
    WASABI_BUCKET: localWasabi.bucket,
    WASABI_ACCESS_KEY_ID: localWasabi.accessKeyId,
    WASABI_SECRET_ACCESS_KEY: localWasabi.secretAccessKey,
    ...queues,
  };
  await writeFile(
    env,
    Object.entries(settings)
      .map(([name, value]) => `${name}=${value}\n`)
      .join(""),
  );
  const run = await runDoctor("--env", env);
  const failures = failuresOf(run);
  expect(failures.map(({ group, name }) => `${group}: ${name}`)).toEqual([
    "Database and timer: D1 migrations",
    "Queues: lucidlink",
    "lucid-agent: mounted",
    "Clocks: lucid-agent",
  ]);
  const [migration, queue, mount, clock] = failures;
  expect(migration?.detail).toContain(missing);
  expect(migration?.fix).toContain("wrangler d1 migrations apply");
  expect(queue?.detail).toContain("lucidlink has no worker consumer");
  expect(mount?.detail).toContain("not mounted");
  expect(clock?.detail).toContain("10 min ahead");
  expect(run.code).toBe(1);
});
