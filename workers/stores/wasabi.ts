/**
 * The archive in Wasabi, as the rest of the worker uses it: one bucket, bare ETags (no quotes), StoreFailure for what a
 * store may do. Presigning is local computation.
 */
import type { WasabiConfig } from "./config.ts";
import * as multipart from "./wasabi-multipart.ts";
import * as object from "./wasabi-object.ts";
import { presignGet, presignPart } from "./wasabi-presign.ts";
import { completeNew, completeProven, type ExpectedObject } from "./wasabi-proof.ts";
import { listUploads } from "./wasabi-upload-list.ts";

/** What a proxy is served as, and an original too: its own type is not known before it is probed. */
const videoType = "video/mp4";

export function wasabiStore(config: WasabiConfig) {
  return {
    head: (key: string) => object.headObject(config, key),
    getRange: (key: string, wanted: object.VersionedRange) => object.getRange(config, key, wanted),
    put: (key: string, body: ReadableStream<Uint8Array>, options: object.PutOptions) =>
      object.putObject(config, key, body, options),
    remove: (key: string) => object.deleteObject(config, key),

    /** @returns the upload's id */
    createMultipart: (key: string, contentType = videoType) => multipart.createMultipart(config, key, contentType),
    uploadPart: (key: string, uploadId: string, part: multipart.PartBody) =>
      multipart.uploadPart(config, { key, uploadId }, part),
    copyPart: (key: string, uploadId: string, part: multipart.PartCopy) =>
      multipart.copyPart(config, { key, uploadId }, part),
    completeMultipart: (key: string, uploadId: string, parts: multipart.PartList) =>
      multipart.completeMultipart(config, { key, uploadId }, parts),
    completeProven: (key: string, uploadId: string, parts: multipart.PartList, expected: ExpectedObject) =>
      completeProven(config, { key, uploadId }, parts, expected),
    completeNew: (key: string, uploadId: string, parts: multipart.PartList, expected: ExpectedObject) =>
      completeNew(config, { key, uploadId }, parts, expected),
    abortMultipart: (key: string, uploadId: string) => multipart.abortMultipart(config, { key, uploadId }),
    listUploads: (prefix: string) => listUploads(config, prefix),

    presignGet: (key: string, ttlSeconds: number) => presignGet(config, key, { nowMs: Date.now(), ttlSeconds }),
    presignPart: (key: string, uploadId: string, n: number, ttlSeconds: number) =>
      presignPart(config, { key, uploadId, n }, { nowMs: Date.now(), ttlSeconds }),
  };
}

export type WasabiStore = ReturnType<typeof wasabiStore>;
