/**
 * The local stack as one thing: takes the data directory's lock, starts every child in order, keeps stack.json true,
 * and ends all of it without leaving a process.
 */
import { mkdir, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { z } from "zod";
import { keptLocalS3, type LocalS3 } from "./local-s3.ts";
import { choosePorts, isFree } from "./port.ts";
import { readJson, writePrivateJson } from "./private-file.ts";
import { loadSecrets, mintToken, type Secrets } from "./secret.ts";
import { type FaultShape, faultPortNames, faultShapeOf } from "./stack-fault.ts";
import { type StackFile, stackFilePath, writeStackFile } from "./stack-file.ts";
import { takeLock } from "./stack-lock.ts";
import { childPlans, type Ports, type StackShape, stackFileOf } from "./stack-plan.ts";
import { type ChildEvent, type SupervisedChild, superviseChild } from "./supervisor.ts";

export type StackOptions = {
  dataDirectory: string;
  /** What stands for Wasabi; Miniflare's S3 where nothing is said. */
  s3?: LocalS3;
  /** The API's port; null: the last run's, else 8787, else any. 0: the last run's, else any. */
  port: number | null;
  runners: number;
  agent: boolean;
  restart: boolean;
  /** Overrides of the default policy; null: none. */
  policy: Record<string, unknown> | null;
  /** Every link behind a proxy, and a switch before R2, to be told what should go wrong. */
  faults: boolean;
  onEvent?(event: StackEvent): void;
  /** Every log line of every child. */
  onLine?(name: string, line: string): void;
  /** Gives up a start that is under way. */
  signal?: AbortSignal;
};

export type StackEvent =
  | ChildEvent
  | { type: "took-over"; orphans: number[] }
  | { type: "port-moved"; name: string; from: number; to: number }
  | { type: "starting"; name: string }
  | { type: "ready"; name: string; tookMs: number };

export type Stack = {
  file(): StackFile;
  /** By name (`wasabi`, `worker`, `gpu-runner`…), to stop or start one alone. */
  child(name: string): SupervisedChild;
  stop(): Promise<void>;
  /** The synchronous way out of a dying process: kills every group. */
  killNow(): void;
};

const KeptPorts = z.object({
  api: z.int(),
  pull: z.int(),
  wasabi: z.int(),
  agent: z.int(),
  appWebhook: z.int(),
  /** By name, of a stack that was started with faults: URLs that were signed for them outlive a restart. */
  faults: z.record(z.string(), z.int()).optional(),
});

/** The worker's database and the objects belong together: another store would lack every object that it knows of. */
function refuseOtherS3(dataDirectory: string, wanted: LocalS3): void {
  const kept = keptLocalS3(dataDirectory);
  if (kept === null || kept === wanted) return;
  throw new Error(
    `The objects in ${dataDirectory} were stored with --s3 ${kept}. Choose another directory with --data DIR, or remove it to start afresh.`,
  );
}

const defaultApiPort = 8787;
const tokenLifetime = "30d";

async function settlePorts(
  options: StackOptions,
  dataDirectory: string,
): Promise<{ ports: Ports; runnerPorts: number[]; faults: FaultShape | null }> {
  const path = join(dataDirectory, "ports.json");
  const kept = await readJson(path, KeptPorts);
  if (options.port !== null && options.port !== 0 && !(await isFree(options.port))) {
    throw new Error(`Port ${options.port} is in use. Choose another with --port N, or leave --port out.`);
  }
  const runnerNames = Array.from({ length: options.runners }, (_, index) => `runner-${index + 1}`);
  const faultNames = options.faults ? faultPortNames : [];
  const chosen = await choosePorts({
    api: options.port || (kept?.api ?? (options.port === 0 ? null : defaultApiPort)),
    pull: kept?.pull ?? null,
    wasabi: kept?.wasabi ?? null,
    agent: kept?.agent ?? null,
    appWebhook: kept?.appWebhook ?? null,
    ...Object.fromEntries(faultNames.map((name) => [name, kept?.faults?.[name] ?? null])),
    ...Object.fromEntries(runnerNames.map((name) => [name, null])),
  });
  const ports = KeptPorts.parse(chosen);
  const byName = new Map(Object.entries(chosen));
  const faultPorts = Object.fromEntries(faultNames.map((name) => [name, byName.get(name) ?? 0]));
  for (const name of ["api", "wasabi"] as const) {
    const from = kept?.[name];
    if (from !== undefined && from !== ports[name]) {
      options.onEvent?.({ type: "port-moved", name, from, to: ports[name] });
    }
  }
  await writePrivateJson(path, { ...ports, ...(options.faults ? { faults: faultPorts } : { faults: kept?.faults }) });
  return {
    ports,
    runnerPorts: runnerNames.flatMap((name) => byName.get(name) ?? []),
    faults: options.faults ? faultShapeOf(faultPorts) : null,
  };
}

async function mintTokens(secrets: Secrets): Promise<StackFile["tokens"]> {
  const mint = (role: keyof StackFile["tokens"]) => mintToken(secrets.jwtKeys, role, `local-${role}`, tokenLifetime);
  const [admin, uploader, viewer, editor, render, runner] = await Promise.all([
    mint("admin"),
    mint("uploader"),
    mint("viewer"),
    mint("editor"),
    mint("render"),
    mint("runner"),
  ]);
  return { admin, uploader, viewer, editor, render, runner };
}

async function startAll(
  children: SupervisedChild[],
  onEvent: (event: StackEvent) => void,
  signal: AbortSignal | undefined,
): Promise<void> {
  const start = async (child: SupervisedChild) => {
    const from = performance.now();
    onEvent({ type: "starting", name: child.name });
    await child.start();
    onEvent({ type: "ready", name: child.name, tookMs: Math.round(performance.now() - from) });
  };
  // Runners pull as soon as they are up; the others only wait to be asked, and may come up in any order.
  const isRunner = (child: SupervisedChild) => child.name.startsWith("gpu-runner");
  for (const wave of [children.filter((child) => !isRunner(child)), children.filter(isRunner)]) {
    signal?.throwIfAborted();
    const results = await Promise.allSettled(wave.map(start));
    for (const result of results) if (result.status === "rejected") throw result.reason;
  }
}

export async function startStack(options: StackOptions): Promise<Stack> {
  const dataDirectory = resolve(options.dataDirectory);
  const onEvent = (event: StackEvent) => options.onEvent?.(event);
  await mkdir(join(dataDirectory, "logs"), { recursive: true, mode: 0o700 });
  const lock = await takeLock(dataDirectory);
  let children: SupervisedChild[] = [];
  const killAll = () => {
    for (const child of children) child.killNow();
  };
  options.signal?.addEventListener("abort", killAll);
  const stopChildren = async () => {
    // Last started, first stopped: the runner hands its job back while there is still an API to hand it to.
    for (const child of [...children].reverse()) await child.stop();
  };
  try {
    const s3 = options.s3 ?? "miniflare";
    refuseOtherS3(dataDirectory, s3);
    if (lock.orphans.length > 0) onEvent({ type: "took-over", orphans: lock.orphans });
    // Whoever waits for the file to appear finds a stack that is ready, never the last run's.
    await rm(stackFilePath(dataDirectory), { force: true });
    await mkdir(join(dataDirectory, "lucidlink"), { recursive: true });
    const secrets = await loadSecrets(dataDirectory);
    const shape: StackShape = {
      dataDirectory,
      s3,
      ...(await settlePorts(options, dataDirectory)),
      secrets,
      tokens: await mintTokens(secrets),
      policy: options.policy,
      agent: options.agent,
    };
    const pids = (): Record<string, number> => {
      const alive: Record<string, number> = {};
      for (const child of children) {
        const pid = child.pid();
        if (pid !== null) alive[child.name] = pid;
      }
      return alive;
    };
    const file = () => stackFileOf(shape, pids());

    // One write at a time, each of the state of its own moment: the last one always tells the truth.
    let writing: Promise<void> = Promise.resolve();
    let published = false;
    const persist = () => {
      writing = writing.then(async () => {
        await lock.record(Object.values(pids()));
        if (published) await writeStackFile(dataDirectory, file());
      });
      return writing;
    };
    children = childPlans(shape).map((plan) =>
      superviseChild(plan, {
        restart: options.restart,
        onEvent(event) {
          if (event.type === "pid-changed") persist().catch((error) => console.error("stack.json:", error));
          onEvent(event);
        },
        ...(options.onLine === undefined ? {} : { onLine: options.onLine }),
      }),
    );
    await startAll(children, onEvent, options.signal);
    options.signal?.throwIfAborted();
    published = true;
    await persist();

    let stopping: Promise<void> | null = null;
    return {
      file,
      child(name) {
        const child = children.find((candidate) => candidate.name === name);
        if (child === undefined) throw new Error(`The stack has no child named ${name}`);
        return child;
      },
      stop() {
        stopping ??= (async () => {
          await stopChildren();
          await persist();
          await lock.release();
        })();
        return stopping;
      },
      killNow: killAll,
    };
  } catch (error) {
    await stopChildren();
    await lock.release();
    throw error;
  } finally {
    options.signal?.removeEventListener("abort", killAll);
  }
}
