/** Render access to an original: a presigned URL that any HTTP client reads by range, straight from Wasabi. */
import { z } from "zod";
import { FileId } from "../../schemas/id.ts";
import { OriginalAccessGrant, OriginalAccessRequest } from "../../schemas/original-access.ts";
import { Refusal } from "../problem.ts";
import { wasabiStore } from "../stores/wasabi.ts";
import { assetFor } from "./asset-scope.ts";
import { expiryAt } from "./expiry.ts";
import { reply, route } from "./route.ts";

const URL_SECONDS = 15 * 60;

export const originalAccess = route({
  method: "POST",
  path: "/v1/assets/{fileId}/original/access",
  summary: "A presigned URL of the original for 15 minutes, and for time ranges the bytes that hold them.",
  access: { by: "token", roles: ["render", "editor", "admin"] },
  params: z.strictObject({ fileId: FileId }),
  body: OriginalAccessRequest,
  answers: { 200: OriginalAccessGrant },
  async handle({ env, config, caller, nowMs }, { params, body }) {
    const asset = await assetFor(env, caller, params.fileId);
    if (asset.original === null || asset.state === "deleted") {
      throw new Refusal("NOT_READY", `The asset is ${asset.state} and has no verified original.`);
    }
    const { key, sizeBytes, etag } = asset.original;
    const url = await wasabiStore(config.wasabi).presignGet(key, URL_SECONDS);
    const everything = { from: 0, to: sizeBytes - 1 };
    return reply(200, {
      url,
      expiresAt: expiryAt(nowMs, URL_SECONDS),
      sizeBytes,
      etag,
      whole: true,
      header: [],
      segments: (body.timeRanges ?? []).map((range) => ({ ...range, ranges: [everything] })),
    });
  },
});
