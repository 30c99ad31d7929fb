/** Ceph copies whatever version lies at the source, though it was told which: nothing mixed may become an original. */
import { expect, test } from "vitest";
import { originalKey } from "../../../schemas/key.ts";
import { newUpload } from "../../door-worker.ts";
import { type Asked, openPipeline, wasabi } from "../../pipeline-worker.ts";
import { byteAt, copyOver, openUploads, partCount, putRepeated } from "./raw-bucket.ts";

const mib = 1024 ** 2;
const pieceBytes = 45 * mib;
/** Two parts: what the store copies itself moves in parts of sixteen times this. */
const policy = { transferPartBytes: 5 * mib };
const sizeBytes = 2 * pieceBytes;

const filled = (letter: string) => new Uint8Array(pieceBytes).fill(letter.charCodeAt(0));

const copiedPart = ({ method, url, headers }: Asked) =>
  method === "PUT" && headers.has("x-amz-copy-source") ? url.searchParams.get("partNumber") : null;

test("an original of several parts that lies elsewhere in the bucket is copied there by the store", async () => {
  const sourceKey = `inbox/${crypto.randomUUID()}/whole.mov`;
  await putRepeated(sourceKey, filled("a"), 2);
  const upload = newUpload({ sizeBytes, source: { kind: "wasabi", key: sourceKey } });
  const pipeline = await openPipeline(upload.fileId, policy);
  const parts = new Set<string>();
  pipeline.breakWasabi = (asked) => {
    const n = copiedPart(asked);
    if (n !== null) parts.add(n);
    return null;
  };
  await pipeline.notice(upload);
  const asset = await pipeline.drive(({ state }) => state !== "received");
  expect(asset).toMatchObject({ state: "archived", original: { sizeBytes } });
  expect([...parts].sort()).toEqual(["1", "2"]);
  expect((await wasabi.head(originalKey(upload)))?.etag).toBe(asset.original?.etag);
  expect(await openUploads(originalKey(upload))).toEqual([]);
}, 120_000);

test("a source that is replaced between two parts: the copy starts over, and the original is of one version", async () => {
  const folder = `inbox/${crypto.randomUUID()}`;
  const sourceKey = `${folder}/film.mov`;
  await putRepeated(sourceKey, filled("a"), 2);
  await putRepeated(`${folder}/other.mov`, filled("b"), 2);
  const upload = newUpload({ sizeBytes, source: { kind: "wasabi", key: sourceKey } });
  const key = originalKey(upload);
  const pipeline = await openPipeline(upload.fileId, policy);
  let replaced = false;
  pipeline.breakWasabi = async (asked) => {
    if (copiedPart(asked) !== "2" || replaced) return null;
    replaced = true;
    const uploadId = asked.url.searchParams.get("uploadId") ?? "";
    for (let look = 0; look < 100 && (await partCount(key, uploadId)) === 0; look++) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    expect(await partCount(key, uploadId), "the first part, of the version before").toBe(1);
    await copyOver(`${folder}/other.mov`, sourceKey);
    return null;
  };
  await pipeline.notice(upload);
  const asset = await pipeline.drive(({ state }) => state !== "received");
  expect(replaced).toBe(true);
  expect(asset).toMatchObject({ state: "archived", original: { sizeBytes } });
  expect([await byteAt(key, 0), await byteAt(key, sizeBytes - 1)]).toEqual(["b", "b"]);
  expect(await openUploads(key)).toEqual([]);
}, 120_000);
