import { existsSync } from "node:fs";
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
