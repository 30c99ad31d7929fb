/** Global setup of the workers suite: a real S3 in a process of its own port, told to tests by `inject`. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { startCeph } from "../dev/ceph/ceph.ts";
import { type LocalS3, localS3OfEnvironment } from "../dev/local-s3.ts";
import { startWasabi } from "../dev/wasabi.ts";
import { localWasabi } from "./bindings.ts";
import { startLabelledStore } from "./labelled-store.ts";

type Running = { endpoint: string; stop(): Promise<void> };

async function start(kind: LocalS3, directory: string): Promise<Running> {
  if (kind === "ceph") {
    const { access, stop } = await startCeph({ directory, ...localWasabi });
    return { endpoint: access.endpoint, stop };
  }
  const { endpoint, dispose } = await startWasabi({ port: 0, directory, ...localWasabi });
  return { endpoint, stop: dispose };
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const directory = await mkdtemp(join(tmpdir(), "workers-suite-wasabi-"));
  const kind = localS3OfEnvironment();
  const { endpoint, stop } = await start(kind, directory);
  project.provide("localS3", kind);
  project.provide("wasabiEndpoint", endpoint);
  const labelled = await startLabelledStore();
  project.provide("labelledStore", labelled.endpoint);
  return async () => {
    await Promise.all([stop(), labelled.stop()]);
    await rm(directory, { recursive: true, force: true });
  };
}
