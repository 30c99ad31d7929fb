import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { keptLocalS3, LocalS3, localS3Directory, localS3OfEnvironment } from "./local-s3.ts";

test("MMF_S3 chooses the server, Miniflare's where it says nothing; another word is an error that names it", () => {
  expect(localS3OfEnvironment({})).toBe("miniflare");
  expect(localS3OfEnvironment({ MMF_S3: "ceph" })).toBe("ceph");
  expect(() => localS3OfEnvironment({ MMF_S3: "minio" })).toThrow('MMF_S3 is "minio"; it must be miniflare or ceph.');
});

test("a data directory tells whose objects it holds", async () => {
  const directory = await mkdtemp(join(tmpdir(), "local-s3-"));
  onTestFinished(() => rm(directory, { recursive: true }));
  expect(keptLocalS3(directory)).toBeNull();
  for (const kind of LocalS3.options) {
    await mkdir(localS3Directory(kind, directory));
    expect(keptLocalS3(directory)).toBe(kind);
    await rm(localS3Directory(kind, directory), { recursive: true });
  }
});
