/** Global setup of the workers suite: a real S3 (Miniflare's) in a process of its own ports, told to tests by `inject`. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { startWasabi } from "../dev/wasabi.ts";
import { localWasabi } from "./bindings.ts";
import { startLabelledStore } from "./labelled-store.ts";

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const directory = await mkdtemp(join(tmpdir(), "workers-suite-wasabi-"));
  const wasabi = await startWasabi({ port: 0, directory, ...localWasabi });
  project.provide("wasabiEndpoint", wasabi.endpoint);
  const labelled = await startLabelledStore();
  project.provide("labelledStore", labelled.endpoint);
  return async () => {
    await Promise.all([wasabi.dispose(), labelled.stop()]);
    await rm(directory, { recursive: true, force: true });
  };
}
