/** What was served is recorded, also where nobody asks afterwards and where the record failed: real R2, D1 and objects. */
import { createExecutionContext, waitOnExecutionContext } from "cloudflare:test";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { config, env, quality, type Seeded, seedProxy } from "../../test/door-worker.ts";
import { openWasabiStub } from "../../test/wasabi-stub-worker.ts";
import { signPlaybackUrl } from "../playback-url.ts";
import type { Env } from "../stores/config.ts";
import { deliveryCounts } from "../stores/delivery-count.ts";
import { handleDelivery } from "./proxy.ts";

const minuteMs = 60_000;
const largeBytes = 400_000;
let nowMs = Date.now();

beforeEach(async () => {
  // The counter lives as long as the isolate: each test begins where the windows of the one before are over.
  nowMs += 10 * minuteMs;
  vi.spyOn(Date, "now").mockImplementation(() => nowMs);
  await env.CATALOGUE.prepare("DELETE FROM delivery_counts").run();
});

afterEach(() => vi.mocked(Date.now).mockRestore());

async function viewing(seeded: Seeded, over: { env?: Env } = {}) {
  const url = await signPlaybackUrl(config.publicUrl, config.playbackKeys, {
    fileId: seeded.upload.fileId,
    jobId: seeded.jobId,
    quality,
    downloadName: null,
    expiresAtSeconds: Math.floor(nowMs / 1000) + 600,
  });
  const ctx = createExecutionContext();
  const response = await handleDelivery(new Request(url), over.env ?? env, ctx);
  const { body } = response;
  if (body === null) throw new Error(`no body: ${response.status}`);
  return { body, settled: () => waitOnExecutionContext(ctx) };
}

async function viewWhole(seeded: Seeded, over: { env?: Env } = {}): Promise<void> {
  const { body, settled } = await viewing(seeded, over);
  expect((await new Response(body).arrayBuffer()).byteLength).toBe(seeded.bytes.length);
  await settled();
}

const recorded = async () =>
  Object.fromEntries(
    (await deliveryCounts(env.CATALOGUE, "2000-01-01")).map(({ servedFrom, requests, bytes }) => [
      servedFrom,
      { requests, bytes },
    ]),
  );

test.each([1_000, largeBytes])("a lone viewing of %i bytes is recorded though nobody asks after it", async (bytes) => {
  const seeded = await seedProxy({ placed: true, proxyBytes: bytes });
  await viewWhole(seeded);
  expect(await recorded()).toEqual({ r2: { requests: 1, bytes } });
});

test("what Wasabi served is recorded ten seconds after the last record, not with every response", async () => {
  const wasabi = openWasabiStub();
  const seeded = await seedProxy({ placed: false, proxyBytes: largeBytes });
  wasabi.objects.set(seeded.wasabiKey, seeded);
  await viewWhole(seeded);
  expect(await recorded()).toEqual({ wasabi: { requests: 1, bytes: largeBytes } });
  await viewWhole(seeded);
  expect(await recorded()).toEqual({ wasabi: { requests: 1, bytes: largeBytes } });
  nowMs += 10_000;
  await viewWhole(seeded);
  expect(await recorded()).toEqual({ wasabi: { requests: 3, bytes: 3 * largeBytes } });
});

test("a viewing under way is recorded each minute, and where its viewer leaves", async () => {
  const seeded = await seedProxy({ placed: true, proxyBytes: 3_000_000 });
  const { body, settled } = await viewing(seeded);
  const reader = body.getReader();
  let readBytes = 0;
  const readTo = async (bytes: number) => {
    while (readBytes < bytes) readBytes += (await reader.read()).value?.length ?? 0;
  };
  await readTo(500_000);
  expect(await recorded()).toEqual({});
  nowMs += minuteMs;
  await readTo(1_000_000);
  await vi.waitFor(async () => expect((await recorded()).r2?.bytes).toBeGreaterThan(400_000));
  nowMs += minuteMs;
  await reader.cancel("the viewer leaves");
  await settled();
  const { r2 } = await recorded();
  expect(r2?.requests).toBe(1);
  expect(r2?.bytes).toBeGreaterThan(900_000);
  expect(r2?.bytes).toBeLessThan(3_000_000);
});

test("a record that fails is made up for by the next", async () => {
  const seeded = await seedProxy({ placed: true, proxyBytes: largeBytes });
  const batch = () => Promise.reject(new Error("D1 is down"));
  const noDatabase = new Proxy(env, {
    get: (target, name) =>
      name === "CATALOGUE"
        ? { prepare: (sql: string) => env.CATALOGUE.prepare(sql), batch }
        : Reflect.get(target, name),
  });
  await viewWhole(seeded, { env: noDatabase });
  expect(await recorded()).toEqual({});
  nowMs += minuteMs;
  await viewWhole(seeded);
  nowMs += minuteMs;
  await viewWhole(seeded);
  // The third's own counts begin the next minute.
  expect(await recorded()).toEqual({ r2: { requests: 2, bytes: 2 * largeBytes } });
});
