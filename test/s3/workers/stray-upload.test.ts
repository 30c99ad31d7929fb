/** Ceph encodes the keys of a listing without saying so: what is aborted must be gone, and only what is gone counts. */
import { expect, test } from "vitest";
import { originalKey } from "../../../schemas/key.ts";
import { sweepStrayUploads } from "../../../workers/cron/stray-upload.ts";
import { publishAssets } from "../../../workers/stores/catalogue.ts";
import { listAlerts } from "../../../workers/stores/incident.ts";
import { env, newUpload } from "../../door-worker.ts";
import { bodyOf, content, openPipeline, wasabi } from "../../pipeline-worker.ts";
import { createUpload, openUploads } from "./raw-bucket.ts";

const hourMs = 60 * 60_000;
const bytes = content(1_000);

async function archived(fileName: string): Promise<string> {
  const upload = newUpload({ fileName, sizeBytes: bytes.length });
  const key = originalKey(upload);
  const pipeline = await openPipeline(upload.fileId);
  await wasabi.put(key, bodyOf(bytes), { sizeBytes: bytes.length, contentType: "video/quicktime" });
  await pipeline.notice(upload);
  await publishAssets(env.CATALOGUE, [await pipeline.drive(({ state }) => state === "archived")]);
  return key;
}

/** Sweeps keep an hour's distance: each case has days of its own. */
test.each([
  [2, "A 001+2.mov"],
  [4, "50% of %41&b=<c>.mov"],
  [6, "日本 é.mov"],
])("after %i days a stray upload at %s is gone with its sweep", async (days, fileName) => {
  const key = await archived(fileName);
  const stray = await createUpload(key);
  expect(await openUploads(key)).toEqual([stray]);
  const startMs = Date.now() + days * 24 * hourMs;
  for (const hour of [0, 1]) await sweepStrayUploads(env, wasabi, startMs + hour * hourMs);
  expect(await openUploads(key)).toEqual([]);
  for (const hour of [2, 3]) await sweepStrayUploads(env, wasabi, startMs + hour * hourMs);
  const causes = (await listAlerts(env.CATALOGUE, 100)).map(({ cause }) => cause);
  expect(causes, "no sweep says that it aborts it again").not.toContain("stray-uploads");
  expect((await wasabi.head(key))?.sizeBytes, "the original itself").toBe(bytes.length);
});
