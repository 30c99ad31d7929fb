/**
 * Lists the multipart uploads that are open below a prefix: all of them, or none. A listing that is cut short, or that does
 * not come to an end, must never look like one in which the rest is gone.
 */
import { XMLParser } from "fast-xml-parser";
import { z } from "zod";
import { codeOf } from "../../schemas/failure-policy.ts";
import type { WasabiConfig } from "./config.ts";
import { StoreFailure } from "./store-failure.ts";
import { answerText, sendOrThrow } from "./wasabi-request.ts";

export interface ListedUpload {
  key: string;
  /** The key as it may be as well: some stores encode keys, since we ask for it, and do not say so. */
  otherKey?: string;
  uploadId: string;
  /** ISO 8601, UTC. */
  initiatedAt: string;
}

const operation = "a listing of uploads";
const timeoutMs = 60_000;
/** A thousand uploads with keys of a kilobyte each. */
const longestPageBytes = 4 * 1024 ** 2;
/** 100,000 uploads: a bucket with more is a case for its lifecycle rule and a person. */
const mostPages = 100;

/** Spaces are part of a key. */
const parser = new XMLParser({ parseTagValue: false, ignoreAttributes: true, trimValues: false });

const Upload = z.object({ Key: z.string().min(1), UploadId: z.string().min(1), Initiated: z.iso.datetime() });

const Page = z.object({
  ListMultipartUploadsResult: z.object({
    IsTruncated: z.enum(["true", "false"]),
    EncodingType: z.literal("url").optional(),
    NextKeyMarker: z.string().optional(),
    NextUploadIdMarker: z.string().optional(),
    Upload: z.union([z.array(Upload), Upload.transform((one) => [one])]).default([]),
  }),
});

interface Marker {
  key: string;
  uploadId: string;
}

/** @throws StoreFailure when any page of it cannot be had or read */
export async function listUploads(config: WasabiConfig, prefix: string): Promise<ListedUpload[]> {
  const uploads: ListedUpload[] = [];
  let after: Marker | null = null;
  for (let page = 0; page < mostPages; page++) {
    const next = await listPage(config, prefix, after);
    uploads.push(...next.uploads);
    if (next.after === null) return uploads;
    if (next.after.key === after?.key && next.after.uploadId === after.uploadId) break;
    after = next.after;
  }
  throw unreadable("does not come to an end");
}

async function listPage(config: WasabiConfig, prefix: string, after: Marker | null) {
  const query = [
    "uploads",
    "encoding-type=url",
    `prefix=${encodeURIComponent(prefix)}`,
    ...(after === null ? [] : [`key-marker=${strictly(after.key)}`, `upload-id-marker=${strictly(after.uploadId)}`]),
  ];
  const response = await sendOrThrow(config, {
    operation,
    method: "GET",
    url: `${config.endpoint}/${config.bucket}?${query.join("&")}`,
    timeoutMs,
  });
  return readPage(await answerText(operation, response, timeoutMs, longestPageBytes));
}

/** Pure. @throws StoreFailure for text that is not one whole page */
export function readPage(text: string): { uploads: ListedUpload[]; after: Marker | null } {
  // The parser forgives tags that were never closed, and with them everything that was cut off.
  if (!text.trimEnd().endsWith("</ListMultipartUploadsResult>")) throw unreadable("broke off");
  const parsed = Page.safeParse(xmlOf(text));
  if (!parsed.success) throw unreadable("cannot be read");
  const page = parsed.data.ListMultipartUploadsResult;
  const isEncoded = page.EncodingType !== undefined;
  const uploads = page.Upload.map(({ Key, UploadId, Initiated }) => ({
    ...(isEncoded ? { key: decodedOrThrow(Key) } : keysOf(Key)),
    uploadId: UploadId,
    initiatedAt: new Date(Initiated).toISOString(),
  }));
  if (page.IsTruncated === "false") return { uploads, after: null };
  const { NextKeyMarker, NextUploadIdMarker } = page;
  if (!NextKeyMarker || !NextUploadIdMarker) throw unreadable("names no continuation");
  const marker = isEncoded ? decodedOrThrow(NextKeyMarker) : NextKeyMarker;
  return { uploads, after: { key: marker, uploadId: NextUploadIdMarker } };
}

function xmlOf(text: string): unknown {
  try {
    return parser.parse(text);
  } catch {
    return null;
  }
}

function keysOf(text: string): Pick<ListedUpload, "key" | "otherKey"> {
  const key = decoded(text);
  return key === null || key === text ? { key: text } : { key, otherKey: text };
}

/** S3 writes a space as `+`, as forms do. */
function decoded(text: string): string | null {
  try {
    return decodeURIComponent(text.replaceAll("+", "%20"));
  } catch {
    return null;
  }
}

function decodedOrThrow(text: string): string {
  const key = decoded(text);
  if (key === null) throw unreadable("has a key that cannot be read");
  return key;
}

/** The signer and the server must agree on one spelling. */
const strictly = (text: string) =>
  encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);

const unreadable = (what: string) =>
  new StoreFailure(codeOf("silence", "wasabi"), `Wasabi's answer to ${operation} ${what}.`);
