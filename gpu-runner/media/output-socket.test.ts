import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openOutputSocket } from "./output-socket.ts";
import { makeTestFolder } from "./testing/ffmpeg-clip.ts";

test("closed a second time, it leaves the next run's socket at the same path alone", async () => {
  const folder = await makeTestFolder();
  try {
    const path = join(folder.path, "360p.sock");
    const first = await openOutputSocket(path);
    await first.close();
    const next = await openOutputSocket(path);
    await first.close();
    expect(existsSync(path)).toBe(true);
    await next.close();
    expect(existsSync(path)).toBe(false);
  } finally {
    await folder.remove();
  }
});

test("what has been taken from it leaves no memory behind", async () => {
  const folder = await makeTestFolder();
  try {
    const path = join(folder.path, "360p.sock");
    const output = await openOutputSocket(path);
    const encoder = connect(path);
    await once(encoder, "connect");
    const body = randomBytes(16 * 1024 * 1024);
    const before = process.memoryUsage().arrayBuffers;
    encoder.end(body);
    const digest = createHash("sha256");
    for await (const chunk of output.chunks()) digest.update(chunk);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(2 * 1024 * 1024);
    expect(digest.digest("hex")).toBe(createHash("sha256").update(body).digest("hex"));
    await output.close();
  } finally {
    await folder.remove();
  }
});
