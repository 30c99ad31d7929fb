/**
 * Transfers: how an object that is too large for one message moves. The plan lies in the Asset object's state; messages
 * carry a few parts each, in any order, twice or late; the last part that is told of lets the upload be completed.
 */
import { z } from "zod";
import { Md5Hex, PartNumber, Sha256Hex } from "./checksum.ts";
import { notWellFormed, SizeBytes, wellFormed } from "./id.ts";
import { EdgeKey, OriginalKey, ProxyKey } from "./key.ts";

export const UploadId = z.string().min(1).max(2048).refine(wellFormed, notWellFormed);
export type UploadId = z.infer<typeof UploadId>;

/** What a consumer moves in far less than its 15 minutes, a few at a time. */
export const mostPartsPerMessage = 8;

const PartNumbers = z.array(PartNumber).min(1).max(mostPartsPerMessage);

/** The version of a URL's file that every part must be read from. */
export const SourcePin = z.strictObject({
  name: z.enum(["etag", "last-modified"]),
  value: z.string().min(1).max(512).refine(wellFormed, notWellFormed),
});
export type SourcePin = z.infer<typeof SourcePin>;

/**
 * SHA-256's eight words after the parts moved so far, in hex, for a digest that spans the whole file. Such a transfer
 * moves its parts in order, one message at a time.
 */
export const Sha256Midstate = Sha256Hex;

const plan = {
  uploadId: UploadId,
  sizeBytes: SizeBytes,
  /** All parts have this size but the last. */
  partSizeBytes: z.int().positive(),
  parts: PartNumber,
  partsPerMessage: z.int().min(1).max(mostPartsPerMessage),
  pin: SourcePin.nullable(),
  midstate: Sha256Midstate.nullable(),
};

const progress = {
  /** The first part that no message has carried yet. */
  nextPart: z.int().min(1).max(10_001),
  /** Parts that messages carry; one that is not `sent` is owed. Every part before `nextPart` that is not here is moved. */
  moving: z.array(z.object({ parts: PartNumbers, sent: z.boolean() })),
};

const onWasabi = { tier: z.literal("wasabi"), key: z.union([OriginalKey, ProxyKey]), ...plan };
/** Rule 1 holds here too: no key of an original fits. */
const onEdge = { tier: z.literal("r2"), key: EdgeKey, ...plan };

/** An upload that a consumer has opened, and how its parts are cut. */
export const TransferPlan = z.discriminatedUnion("tier", [z.object(onWasabi), z.object(onEdge)]);
export type TransferPlan = z.infer<typeof TransferPlan>;

export const Transfer = z.discriminatedUnion("tier", [
  z.object({ ...onWasabi, ...progress }),
  z.object({ ...onEdge, ...progress }),
]);
export type Transfer = z.infer<typeof Transfer>;

const stage = {
  uploadId: UploadId,
  partSizeBytes: plan.partSizeBytes,
  pin: plan.pin,
  midstate: plan.midstate,
};

/**
 * What a message of a copying command is to do: look, and move the whole if it is small, else open a transfer · move a
 * few parts of one · complete it.
 */
export const TransferStage = z.discriminatedUnion("type", [
  z.object({ type: z.literal("open") }),
  z.object({ type: z.literal("parts"), ...stage, parts: PartNumbers }),
  z.object({ type: z.literal("complete"), ...stage }),
]);
export type TransferStage = z.infer<typeof TransferStage>;
export type StageOf<Type extends TransferStage["type"]> = Extract<TransferStage, { type: Type }>;

/** A part that lies in its upload; the digests where the bytes passed through us for the first time. */
export const MovedPart = z.strictObject({
  n: PartNumber,
  sizeBytes: z.int().positive(),
  etag: z.string().min(1).max(512),
  md5: Md5Hex.nullable(),
  sha256: Sha256Hex.nullable(),
});
export type MovedPart = z.infer<typeof MovedPart>;
