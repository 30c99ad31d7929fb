/** What Ceph answers to a completion says little: an empty ETag, 200 for what an earlier try has done, 500 for what is gone. */
import { expect, test } from "vitest";
import type { UploadDeclaration } from "../../../schemas/event.ts";
import { originalKey } from "../../../schemas/key.ts";
import { newUpload } from "../../door-worker.ts";
import {
  type Asked,
  content,
  type Interceptor,
  openPipeline,
  originHost,
  serve,
  wasabi,
} from "../../pipeline-worker.ts";
import { xml } from "../../wasabi-stub-worker.ts";
import { abortUpload, completeUpload, openUploads } from "./raw-bucket.ts";

const mib = 1024 ** 2;
const bytes = content(11 * mib);
const policy = { transferPartBytes: 5 * mib };

const completedUpload = ({ method, url }: Asked) => (method === "POST" ? url.searchParams.get("uploadId") : null);

async function ingesting(breakWasabi: (uploadId: string, n: number, key: string) => Promise<Response | null>) {
  const source: UploadDeclaration["source"] = { kind: "url", url: `https://${originHost}/a.mov` };
  const upload = newUpload({ sizeBytes: bytes.length, source });
  const pipeline = await openPipeline(upload.fileId, policy);
  const key = originalKey(upload);
  const completions: string[] = [];
  const intercept: Interceptor = async (asked) => {
    const uploadId = completedUpload(asked);
    if (uploadId === null) return null;
    completions.push(uploadId);
    return await breakWasabi(uploadId, completions.length, key);
  };
  pipeline.origin = (asked) => serve({ bytes, etag: '"v1"' }, asked);
  pipeline.breakWasabi = intercept;
  await pipeline.notice(upload);
  return { pipeline, key, completions };
}

test("nothing goes wrong: one completion is enough, whatever ETag it answers", async () => {
  const { pipeline, key, completions } = await ingesting(async () => null);
  const asset = await pipeline.drive(({ state }) => state !== "received");
  expect(asset).toMatchObject({ state: "archived", original: { sizeBytes: bytes.length } });
  expect(completions).toHaveLength(1);
  expect((await wasabi.head(key))?.etag).toBe(asset.original?.etag);
});

test("the answer to a completion is lost: the next try finds it done", async () => {
  const { pipeline, key } = await ingesting(async (uploadId, n, key) => {
    if (n > 1) return null;
    await completeUpload(key, uploadId);
    return xml("InternalError", 500);
  });
  const asset = await pipeline.drive(({ state }) => state !== "received");
  expect(asset).toMatchObject({ state: "archived", original: { sizeBytes: bytes.length } });
  expect(await pipeline.events("TransferOpened"), "nothing moves twice").toHaveLength(1);
  expect(await openUploads(key)).toEqual([]);
});

test("an upload that somebody aborted is not completed for ever: its file moves again", async () => {
  const { pipeline, key, completions } = await ingesting(async (uploadId, n, key) => {
    if (n === 1) await abortUpload(key, uploadId);
    return null;
  });
  const asset = await pipeline.drive(({ state }) => state !== "received");
  expect(asset).toMatchObject({ state: "archived", original: { sizeBytes: bytes.length } });
  expect(new Set(completions).size, "another upload").toBe(2);
  expect(await openUploads(key)).toEqual([]);
});
