/** Render access to an original: a presigned URL that any HTTP client reads by range, straight from Wasabi. */
import { z } from "zod";
import { OriginalLossCode } from "../../schemas/failure.ts";
import { FileId } from "../../schemas/id.ts";
import { OriginalAccessGrant, OriginalAccessRequest } from "../../schemas/original-access.ts";
import { lookAtOriginal } from "../original-look.ts";
import { Refusal } from "../problem.ts";
import { rangesOfOriginal } from "../render/original-range.ts";
import type { ByteSpan } from "../render/sample-span.ts";
import { WholeOnly } from "../render/whole-reason.ts";
import { within } from "../stores/deadline.ts";
import { recordGrant } from "../stores/egress-grant.ts";
import { StoreFailure } from "../stores/store-failure.ts";
import { type WasabiStore, wasabiStore } from "../stores/wasabi.ts";
import { assetFor } from "./asset-scope.ts";
import { expiryAt } from "./expiry.ts";
import { reply, route } from "./route.ts";

const URL_SECONDS = 15 * 60;
const READ_TIMEOUT_MS = 60_000;

export const originalAccess = route({
  method: "POST",
  path: "/v1/assets/{fileId}/original/access",
  summary: "A presigned URL of the original for 15 minutes, and for time ranges the bytes that hold them.",
  access: { by: "token", roles: ["render", "editor", "admin"] },
  params: z.strictObject({ fileId: FileId }),
  body: OriginalAccessRequest,
  answers: { 200: OriginalAccessGrant },
  async handle({ env, config, caller, nowMs, requestId }, { params, body }) {
    const asset = await assetFor(env, caller, params.fileId);
    if (asset.original === null || asset.state === "deleted") {
      throw new Refusal("NOT_READY", `The asset is ${asset.state} and has no verified original.`);
    }
    const { key, sizeBytes, etag } = asset.original;
    const wasabi = wasabiStore(config.wasabi);
    const refuseLost = async () => {
      const loss = await lookAtOriginal(asset, { env, wasabi, by: "original-access" }).catch(goOn);
      if (loss !== null) throw new Refusal(loss.code, loss.message);
    };
    await refuseLost();
    const original = readerOf(wasabi, key, etag);
    const found = await rangesOfOriginal(original.read, sizeBytes, body.timeRanges ?? []).catch(
      async (fault: unknown) => {
        // It may have gone since.
        if (fault instanceof StoreFailure && OriginalLossCode.safeParse(fault.code).success) await refuseLost();
        throw fault;
      },
    );
    const { wholeBecause, header, segments, grantedBytes } = found;
    const url = await wasabi.presignGet(key, URL_SECONDS);
    const expiresAt = expiryAt(nowMs, URL_SECONDS);
    // Before the URL is out: what nobody has recorded is not granted.
    await recordGrant(env.CATALOGUE, {
      id: requestId,
      fileId: asset.fileId,
      clientName: asset.clientName,
      projectName: asset.projectName,
      sub: caller.sub,
      role: caller.role,
      grantedAt: new Date(nowMs).toISOString(),
      expiresAt,
      timeRanges: body.timeRanges ?? null,
      whole: wholeBecause !== null,
      grantedBytes,
      measuredBytes: original.readBytes(),
    });
    return reply(200, {
      url,
      expiresAt,
      sizeBytes,
      etag,
      whole: wholeBecause !== null,
      wholeBecause,
      header,
      segments,
    });
  },
});

/** A store that does not answer now may answer whoever holds the URL. */
function goOn(fault: unknown): null {
  if (fault instanceof StoreFailure && fault.code === "WASABI_UNAVAILABLE") return null;
  throw fault;
}

/** Reads of exactly the object that was verified, counted. */
function readerOf(wasabi: WasabiStore, key: string, etag: string) {
  let readBytes = 0;
  const read = async (span: ByteSpan): Promise<Uint8Array> => {
    const { body } = await wasabi.getRange(key, { ...span, ifMatch: etag }).catch(readWhole);
    const late = () => new StoreFailure("WASABI_UNAVAILABLE", "Wasabi's answer did not end in time.");
    const bytes = new Uint8Array(
      await within(new Response(body).arrayBuffer(), READ_TIMEOUT_MS, late).catch(readWhole),
    );
    if (bytes.length !== span.to - span.from + 1) readWhole(new Error("Wasabi's answer ended early."));
    readBytes += bytes.length;
    return bytes;
  };
  return { read, readBytes: () => readBytes };
}

/** Without its index the original can still be read. One that is not what was verified cannot. */
function readWhole(fault: Error): never {
  if (fault instanceof StoreFailure && fault.code !== "WASABI_UNAVAILABLE") throw fault;
  throw new WholeOnly("index-unreachable", fault.message);
}
