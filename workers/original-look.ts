/** Looks whether a verified original is still in Wasabi, and tells its asset what has become of it. */
import { assetDoor } from "../durable-objects/asset-door.ts";
import type { Asset } from "../schemas/asset.ts";
import type { OriginalLossCode } from "../schemas/failure.ts";
import type { Env } from "./stores/config.ts";
import type { WasabiStore } from "./stores/wasabi.ts";

export interface Loss {
  code: OriginalLossCode;
  message: string;
}

interface Look {
  env: Pick<Env, "ASSET">;
  wasabi: Pick<WasabiStore, "head">;
  /** Who looks, for the history. */
  by: string;
}

/** @returns what has become of it; null for one that is whole @throws StoreFailure where Wasabi cannot tell */
export async function lookAtOriginal({ fileId, original, problem }: Asset, look: Look): Promise<Loss | null> {
  if (original === null) return null;
  const { etag } = original;
  const loss = await lossOf(original, look.wasabi);
  const door = assetDoor(look.env.ASSET, fileId);
  const { by } = look;
  if (loss !== null) await door.apply({ key: null, by, event: { type: "OriginalLost", etag, ...loss } });
  else if (problem?.step === "original") await door.apply({ key: null, by, event: { type: "OriginalFound", etag } });
  return loss;
}

async function lossOf(
  { key, sizeBytes, etag }: NonNullable<Asset["original"]>,
  wasabi: Look["wasabi"],
): Promise<Loss | null> {
  const found = await wasabi.head(key);
  if (found === null) return { code: "ORIGINAL_MISSING", message: `Nothing is at ${key} any more.` };
  if (found.etag === etag && found.sizeBytes === sizeBytes) return null;
  const there = `${found.sizeBytes} bytes, ETag ${found.etag}`;
  return {
    code: "ETAG_MISMATCH",
    message: `Another object is at ${key}: ${there}; verified were ${sizeBytes} bytes, ETag ${etag}.`,
  };
}
