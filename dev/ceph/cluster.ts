/**
 * Runs monitor, OSD and radosgw as children in this process's own group, so that a signal to the group ends all of it.
 * What was stored survives kill -9 of all three.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { eventually } from "../eventually.ts";
import { readJson, writePrivateJson } from "../private-file.ts";
import { s3Client } from "../s3.ts";
import { putUser } from "./admin.ts";
import {
  type ClusterConfig,
  ClusterIdentity,
  cephConf,
  configPath,
  identityPath,
  makeIdentity,
  monitorAddress,
} from "./cluster-config.ts";
import { requirePrograms, runProgram } from "./program.ts";

export type Cluster = {
  stop(): Promise<void>;
  /** Resolves when a daemon ends that nobody stopped. */
  broken: Promise<string>;
};

type Daemon = "ceph-mon" | "ceph-osd" | "radosgw";

const startTimeoutMs = 90_000;
const requestTimeoutMs = 20_000;
const stopGraceMs = 3_000;
export const owner = "owner";

async function identityOf(directory: string): Promise<ClusterIdentity> {
  const path = identityPath(directory);
  const kept = await readJson(path, ClusterIdentity);
  if (kept !== null) return kept;
  const made = makeIdentity();
  await writePrivateJson(path, made);
  return made;
}

export async function startCluster(config: ClusterConfig): Promise<Cluster> {
  requirePrograms();
  const { directory } = config;
  for (const folder of ["mon", "osd", "rgw"]) await mkdir(join(directory, folder), { recursive: true });
  const identity = await identityOf(directory);
  await writeFile(configPath(directory), cephConf(config, identity), { mode: 0o600 });

  const running = new Map<Daemon, ChildProcess>();
  let stopping = false;
  let tellBroken: (how: string) => void = () => undefined;
  const broken = new Promise<string>((resolve) => {
    tellBroken = resolve;
  });
  const run = (program: Daemon, args: readonly string[]) => {
    const child = spawn(program, ["-f", "-c", configPath(directory), ...args], {
      stdio: ["ignore", "inherit", "inherit"],
    });
    running.set(program, child);
    child.once("error", (error) => tellBroken(error.message));
    child.once("exit", (code, signal) => {
      running.delete(program);
      if (!stopping) tellBroken(`${program} ended (${signal ?? `exit code ${code}`}); its log is in ${directory}`);
    });
  };
  const start = async () => {
    await makeMonitor(directory, identity);
    run("ceph-mon", ["-i", "a"]);
    await makeOsd(directory, identity);
    run("ceph-osd", ["-i", "0"]);
    run("radosgw", ["-n", "client.radosgw"]);
    await makeBucket(config);
  };
  const stop = async () => {
    stopping = true;
    for (const program of ["radosgw", "ceph-osd", "ceph-mon"] as const) await end(running.get(program));
  };
  try {
    await Promise.race([start(), broken.then((how) => Promise.reject(new Error(how)))]);
  } catch (error) {
    await stop();
    throw error;
  }
  return { stop, broken };
}

async function end(child: ChildProcess | undefined): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), stopGraceMs);
  await ended;
  clearTimeout(timer);
}

async function makeMonitor(directory: string, identity: ClusterIdentity): Promise<void> {
  if (existsSync(join(directory, "mon", "store.db", "CURRENT"))) return;
  const map = join(directory, "monmap");
  const address = `[${monitorAddress(identity)}]`;
  await runProgram("monmaptool", ["--create", "--clobber", "--fsid", identity.fsid, "--addv", "a", address, map]);
  await runProgram("ceph-mon", ["-c", configPath(directory), "--mkfs", "-i", "a", "--monmap", map]);
}

/** A start that was cut off is begun again: each step may be repeated. */
async function makeOsd(directory: string, identity: ClusterIdentity): Promise<void> {
  const made = join(directory, "osd-is-made");
  if (existsSync(made)) return;
  const ceph = (...args: string[]) =>
    runProgram("ceph", ["-c", configPath(directory), "--connect-timeout", "30", ...args]);
  await ceph("osd", "new", identity.osd, "0");
  if (!existsSync(join(directory, "osd", "ready"))) {
    await runProgram("ceph-osd", ["-c", configPath(directory), "-i", "0", "--mkfs", "--osd-uuid", identity.osd]);
  }
  await ceph("osd", "crush", "add", "osd.0", "1.0", "root=default", "host=local");
  await writeFile(made, "");
}

/** Ready is when the bucket answers its owner. */
async function makeBucket(config: ClusterConfig): Promise<void> {
  const { directory, port, bucket, accessKeyId, secretAccessKey } = config;
  const endpoint = `http://127.0.0.1:${port}`;
  const client = s3Client({ endpoint, region: "us-east-1", bucket, accessKeyId, secretAccessKey });
  const ask = async (method: "HEAD" | "PUT") => {
    const signal = AbortSignal.timeout(requestTimeoutMs);
    const response = await client.fetch(`${endpoint}/${bucket}`, { method, signal }).catch(() => null);
    await response?.arrayBuffer().catch(() => undefined);
    return response?.status ?? null;
  };
  await eventually({ what: "the bucket", timeoutMs: startTimeoutMs, everyMs: 100 }, async () => {
    const status = await ask("HEAD");
    if (status === 403) await putUser(directory, { uid: owner, accessKeyId, secretAccessKey }, "user-policy=*");
    if (status === 404) await ask("PUT");
    return status === 200;
  });
}
