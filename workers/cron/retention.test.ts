/** The sweep asks only about what nobody has played for its time, and the asset decides by its own clock. */
import { afterEach, expect, test, vi } from "vitest";
import { config, env, quality, seedProxy, storedState } from "../../test/door-worker.ts";
import { publishAsset } from "../stores/catalogue.ts";
import { sweepRetention } from "./retention.ts";

const dayMs = 24 * 60 * 60_000;

afterEach(() => {
  vi.useRealTimers();
});

function passDays(days: number): number {
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + days * dayMs });
  return Date.now();
}

async function placedProxy() {
  const seeded = await seedProxy({ placed: true });
  const asset = await seeded.door.view();
  if (asset === null) throw new Error("there is no asset");
  await publishAsset(env.CATALOGUE, asset);
  return seeded;
}

async function copyState(fileId: string) {
  return (await storedState(fileId)).renditions[0]?.copies.find(({ tier }) => tier === "r2")?.state;
}

test("a proxy stays for its 30 days and is asked to leave after them", async () => {
  const { upload } = await placedProxy();
  await sweepRetention(env, config.policy, passDays(29));
  expect(await copyState(upload.fileId)).toBe("placed");
  vi.useRealTimers();
  await sweepRetention(env, config.policy, passDays(31));
  expect(await copyState(upload.fileId)).toBe("removing");
});

test("one that was played after the catalogue was written is nominated, and the asset keeps it", async () => {
  const { upload, door, jobId } = await placedProxy();
  passDays(20);
  await door.apply({ key: null, by: "test", event: { type: "ProxyAccessed", tier: "r2", quality, jobId } });
  vi.useRealTimers();
  await sweepRetention(env, config.policy, passDays(31));
  expect(await copyState(upload.fileId)).toBe("placed");
});
