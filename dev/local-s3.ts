/** Which S3 server stands for Wasabi on this machine: Miniflare's, which needs nothing, or Ceph's, which is a real one. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { cephEndpoint, cephPlan } from "./ceph/ceph.ts";
import { s3Client } from "./s3.ts";
import type { ChildPlan } from "./supervisor.ts";
import { wasabiEndpoint } from "./wasabi.ts";

export const LocalS3 = z.enum(["miniflare", "ceph"]);
export type LocalS3 = z.infer<typeof LocalS3>;

/** Set for a whole test run; `--s3` of a single stack goes before it. */
export const localS3Variable = "MMF_S3";

export function localS3OfEnvironment(env: Readonly<Record<string, string | undefined>> = process.env): LocalS3 {
  const named = env[localS3Variable] || "miniflare";
  const parsed = LocalS3.safeParse(named);
  if (!parsed.success) throw new Error(`${localS3Variable} is "${named}"; it must be ${LocalS3.options.join(" or ")}.`);
  return parsed.data;
}

const directoryNames: Readonly<Record<LocalS3, string>> = { miniflare: "wasabi", ceph: "ceph" };

export function localS3Directory(kind: LocalS3, dataDirectory: string): string {
  return join(dataDirectory, directoryNames[kind]);
}

/** The kind whose objects lie in a data directory; null: none yet. */
export function keptLocalS3(dataDirectory: string): LocalS3 | null {
  return LocalS3.options.find((kind) => existsSync(localS3Directory(kind, dataDirectory))) ?? null;
}

export function localS3Endpoint(kind: LocalS3, port: number): string {
  return kind === "ceph" ? cephEndpoint(port) : wasabiEndpoint(port);
}

const probeTimeoutMs = 2_000;
const readyTimeoutMs = 30_000;

export type LocalS3Settings = {
  dataDirectory: string;
  port: number;
  bucket: string;
  region: string;
  accessKeyId: string;
  secretAccessKey: string;
  logFile: string;
};

/** The stack's child `wasabi`. */
export function localS3Plan(kind: LocalS3, settings: LocalS3Settings): ChildPlan {
  const { dataDirectory, port, bucket, region, accessKeyId, secretAccessKey, logFile } = settings;
  const name = "wasabi";
  const config = { directory: localS3Directory(kind, dataDirectory), port, bucket, accessKeyId, secretAccessKey };
  if (kind === "ceph") return cephPlan(name, config, logFile);
  const endpoint = wasabiEndpoint(port);
  const client = s3Client({ endpoint, bucket, region, accessKeyId, secretAccessKey });
  return {
    name,
    entry: fileURLToPath(new URL("wasabi-process.ts", import.meta.url)),
    config,
    logFile,
    // A signed HEAD of an object that is not there: 404 proves the port, the bucket and the keys.
    isReady: async () => {
      const signal = AbortSignal.timeout(probeTimeoutMs);
      const { status, ok } = await client.fetch(`${endpoint}/${bucket}/ready`, { method: "HEAD", signal });
      return status === 404 || ok;
    },
    readyTimeoutMs,
  };
}
