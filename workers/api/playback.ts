/** Playback: a signed URL of one rendition. Nothing is read from storage to issue it. */
import { z } from "zod";
import { PlaybackGrant, PlaybackRequest } from "../../schemas/api.ts";
import { FileId } from "../../schemas/id.ts";
import type { Quality } from "../../schemas/ladder.ts";
import { signPlaybackUrl } from "../playback-url.ts";
import { Refusal } from "../problem.ts";
import { assetFor } from "./asset-scope.ts";
import { choosePlayback } from "./choose-playback.ts";
import { expiryAt } from "./expiry.ts";
import { peopleRoles } from "./role.ts";
import { reply, route } from "./route.ts";

export const playback = route({
  method: "POST",
  path: "/v1/assets/{fileId}/playback",
  summary: "A signed URL that plays (or downloads) a rendition.",
  access: { by: "token", roles: peopleRoles },
  params: z.strictObject({ fileId: FileId }),
  body: PlaybackRequest,
  answers: { 200: PlaybackGrant },
  async handle({ env, config, caller, nowMs }, { params, body }) {
    const asset = await assetFor(env, caller, params.fileId);
    const rendition = asset.state === "deleted" ? null : choosePlayback(asset, body.quality);
    if (rendition === null) {
      const which = body.quality === undefined ? "rendition that can be played" : `${body.quality} that can be played`;
      throw new Refusal("NOT_READY", `The asset is ${asset.state} and has no ${which}.`);
    }
    const expiresAtSeconds = Math.floor(nowMs / 1000) + body.ttlSeconds;
    const { jobId, quality } = rendition;
    const url = await signPlaybackUrl(config.publicUrl, config.playbackKeys, {
      fileId: asset.fileId,
      jobId,
      quality,
      downloadName: body.download ? downloadName(asset.fileName, quality) : null,
      expiresAtSeconds,
    });
    return reply(200, { url, quality, expiresAt: expiryAt(nowMs, body.ttlSeconds) });
  },
});

/** A001.mov at 720p is saved as A001_720p.mp4; a stem too long for a file system is cut. */
function downloadName(fileName: string, quality: Quality): string {
  const stem = fileName.replace(/\.[^.]{1,10}$/, "");
  return `${[...stem].slice(0, 50).join("")}_${quality}.mp4`;
}
