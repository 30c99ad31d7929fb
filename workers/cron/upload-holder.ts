/** Whether an asset watches over an upload itself: what is held is nobody else's to abort. */
import { assetDoor } from "../../durable-objects/asset-door.ts";
import { log } from "../log.ts";
import type { Env } from "../stores/config.ts";
import { within } from "../stores/deadline.ts";
import type { OpenUpload } from "../stores/open-upload.ts";

const objectTimeoutMs = 10_000;

/** An asset that does not answer may hold it. */
export async function holdOf(
  env: Env,
  fileId: string,
  { uploadId, key }: OpenUpload,
): Promise<"held" | "free" | "unanswered"> {
  try {
    const asked = assetDoor(env.ASSET, fileId).holdsUpload(uploadId);
    const late = () => new Error(`the asset gave no answer in ${objectTimeoutMs} ms`);
    return (await within(asked, objectTimeoutMs, late)) ? "held" : "free";
  } catch (error) {
    log({ event: "upload.unanswered", fileId, key }, error);
    return "unanswered";
  }
}
