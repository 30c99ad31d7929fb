import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { probeSource } from "./probe.ts";

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mmf-probe-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function probeWith(script: string) {
  const ffprobePath = join(folder, "ffprobe");
  await writeFile(ffprobePath, `#!/bin/sh\n${script}\n`);
  await chmod(ffprobePath, 0o755);
  // Nothing listens there: no head to read, as when the store is away.
  const url = "http://127.0.0.1:1/secret";
  return await probeSource({ ffprobePath, url, timeoutMs: 30_000, signal: new AbortController().signal });
}

test("an ffprobe that crashes is the runner's trouble, not the file's", async () => {
  await expect(probeWith("kill -SEGV $$")).rejects.toMatchObject({
    ...{ code: "RUNNER_FAILED", retryable: true },
    message: "ffprobe crashed (SIGSEGV) while it read the file's description.",
  });
});

test("an ffprobe that somebody else kills is the runner's trouble, not the file's", async () => {
  await expect(probeWith("kill -KILL $$")).rejects.toMatchObject({
    ...{ code: "RUNNER_FAILED", retryable: true },
    message: "ffprobe crashed (SIGKILL) while it read the file's description.",
  });
});

test("an ffprobe that refuses the file is the file's trouble, and what it says of a missing index is told", async () => {
  expect(await probeWith("echo nonsense >&2; exit 1")).toMatchObject({ ok: false, code: "INVALID_MEDIA" });
  expect(await probeWith("echo 'moov atom not found' >&2; exit 1")).toMatchObject({ ok: false, code: "TRUNCATED" });
});

test("an ffprobe that says nothing in time is killed", async () => {
  const ffprobePath = join(folder, "slow");
  await writeFile(ffprobePath, "#!/bin/sh\nexec sleep 60\n");
  await chmod(ffprobePath, 0o755);
  const { signal } = new AbortController();
  const result = await probeSource({ ffprobePath, url: "http://127.0.0.1:1/secret", timeoutMs: 100, signal });
  expect(result).toMatchObject({ ok: false, code: "PROBE_TIMEOUT" });
});
