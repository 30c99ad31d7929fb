/**
 * What a stack's Wasabi holds, whichever server stands for it: Miniflare's S3 lists no uploads, so its files are read;
 * Ceph's files are nobody's to read, so it is asked.
 */
import { join } from "node:path";
import { XMLParser } from "fast-xml-parser";
import { z } from "zod";
import { eventually } from "./eventually.ts";
import { keptLocalS3, localS3Directory } from "./local-s3.ts";
import { keysOf, openUploadsOf } from "./persisted-state.ts";
import { s3Client } from "./s3.ts";
import { readStackFile } from "./stack-file.ts";

/** It may have been killed a moment ago. */
const returnTimeoutMs = 60_000;
const requestTimeoutMs = 20_000;

const parser = new XMLParser({ parseTagValue: false, trimValues: false });
const Row = z.object({ Key: z.string() });
const rows = z.union([z.array(Row), Row.transform((one) => [one])]).default([]);
/** One page holds a thousand: far more than any run leaves. */
const whole = z.literal("false");
const Objects = z.object({ ListBucketResult: z.object({ IsTruncated: whole, Contents: rows }) });
const Uploads = z.object({ ListMultipartUploadsResult: z.object({ IsTruncated: whole, Upload: rows }) });

async function listing(dataDirectory: string, query: string): Promise<unknown> {
  const file = await readStackFile(dataDirectory);
  if (file === null) throw new Error("The stack is down: its Wasabi cannot be asked what it holds.");
  const { endpoint, bucket } = file.wasabi;
  return await eventually({ what: "a listing of Wasabi", timeoutMs: returnTimeoutMs }, async () => {
    const signal = AbortSignal.timeout(requestTimeoutMs);
    try {
      const response = await s3Client(file.wasabi).fetch(`${endpoint}/${bucket}?${query}`, { signal });
      const text = await response.text();
      return response.ok ? (parser.parse(text) as unknown) : null;
    } catch {
      return null;
    }
  });
}

const miniflareFolder = (dataDirectory: string) => join(localS3Directory("miniflare", dataDirectory), "r2");

/** Every key in the archive's bucket. */
export async function archiveKeys(dataDirectory: string): Promise<string[]> {
  if (keptLocalS3(dataDirectory) !== "ceph") return keysOf(miniflareFolder(dataDirectory));
  const { ListBucketResult } = Objects.parse(await listing(dataDirectory, "list-type=2"));
  return ListBucketResult.Contents.map(({ Key }) => Key).sort();
}

/** The key of every upload in it that was neither completed nor aborted: their parts are billed. */
export async function openArchiveUploads(dataDirectory: string): Promise<string[]> {
  if (keptLocalS3(dataDirectory) !== "ceph") return openUploadsOf(miniflareFolder(dataDirectory));
  const { ListMultipartUploadsResult } = Uploads.parse(await listing(dataDirectory, "uploads"));
  return ListMultipartUploadsResult.Upload.map(({ Key }) => Key);
}
