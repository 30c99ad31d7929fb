/**
 * A real S3 server for tests: Ceph's radosgw from Debian on loopback, over one monitor and one OSD in a directory. Path
 * style, SigV4, versioning, lifecycle, Object Lock, IAM policies of users.
 */
import { randomBytes } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { AwsClient } from "aws4fetch";
import { choosePorts } from "../port.ts";
import type { S3Access } from "../s3.ts";
import { type ChildPlan, superviseChild } from "../supervisor.ts";
import { type CephUser, putUser, runLifecycle } from "./admin.ts";
import type { ClusterConfig } from "./cluster-config.ts";

const entry = fileURLToPath(new URL("cluster-process.ts", import.meta.url));
/** A first start makes a cluster; busy machines need most of it. */
const readyTimeoutMs = 120_000;
const requestTimeoutMs = 30_000;

export const cephRegion = "us-east-1";
export const cephEndpoint = (port: number) => `http://127.0.0.1:${port}`;

/** For a supervisor: ready when its bucket answers its owner. */
export function cephPlan(name: string, config: ClusterConfig, logFile: string): ChildPlan {
  return {
    name,
    entry,
    config,
    logFile,
    isReady: async ({ messages }) => messages.includes("ready"),
    readyTimeoutMs,
  };
}

export type CephOptions = {
  /** Holds the cluster; kept by `stop`, to be started again with the same keys and bucket. */
  directory: string;
  /** null: any free one. */
  port?: number | null;
  bucket?: string;
  accessKeyId?: string;
  secretAccessKey?: string;
};

export type Ceph = {
  /** As the owner of the bucket, who may do everything with it. */
  access: S3Access;
  /** One more user, who may do nothing with the bucket yet. Later calls with its uid change nothing. */
  putUser(user: CephUser): Promise<void>;
  /** An IAM policy of a user, as JSON has it; replaces the one of that name. */
  putUserPolicy(uid: string, name: string, policy: object): Promise<void>;
  /** Lifecycle rules of every bucket, once, with days of so many seconds. */
  runLifecycle(daySeconds: number): Promise<void>;
  /** The leader of the process group that holds all of it. */
  pid(): number;
  /** Ends every process; the data stays. */
  stop(): Promise<void>;
};

/** @throws what to install, when Ceph is not there */
export async function startCeph(options: CephOptions): Promise<Ceph> {
  const directory = resolve(options.directory);
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const { port } = await choosePorts({ port: options.port ?? null });
  const bucket = options.bucket ?? "wasabi-archive";
  const accessKeyId = options.accessKeyId ?? "CEPHLOCALACCESSKEY01";
  const secretAccessKey = options.secretAccessKey ?? randomBytes(30).toString("base64url");
  const plan = cephPlan(
    "ceph",
    { directory, port, bucket, accessKeyId, secretAccessKey },
    join(directory, "cluster.log"),
  );
  const child = superviseChild(plan, { restart: false, onEvent: () => undefined });
  await child.start();
  const access = { endpoint: cephEndpoint(port), bucket, region: cephRegion, accessKeyId, secretAccessKey };
  return {
    access,
    putUser: (user) => putUser(directory, user),
    putUserPolicy: (uid, name, policy) => putUserPolicy(access, uid, name, policy),
    runLifecycle: (daySeconds) => runLifecycle(directory, daySeconds),
    pid: () => child.pid() ?? 0,
    stop: () => child.stop(),
  };
}

async function putUserPolicy(access: S3Access, uid: string, name: string, policy: object): Promise<void> {
  const { accessKeyId, secretAccessKey, region, endpoint } = access;
  const iam = new AwsClient({ accessKeyId, secretAccessKey, region, service: "iam", retries: 0 });
  const response = await iam.fetch(`${endpoint}/`, {
    method: "POST",
    headers: { "content-type": "application/x-www-form-urlencoded" },
    body: new URLSearchParams({
      Action: "PutUserPolicy",
      Version: "2010-05-08",
      UserName: uid,
      PolicyName: name,
      PolicyDocument: JSON.stringify(policy),
    }).toString(),
    signal: AbortSignal.timeout(requestTimeoutMs),
  });
  const answer = await response.text();
  if (!response.ok) throw new Error(`PutUserPolicy answered ${response.status}: ${answer}`);
}
