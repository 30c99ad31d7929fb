/** Finds an asset for a caller. What lies outside the caller's clients is answered as if it did not exist. */
import { assetDoor } from "../../durable-objects/asset-door.ts";
import type { TokenClaims } from "../../schemas/api.ts";
import type { Asset } from "../../schemas/asset.ts";
import { Refusal } from "../problem.ts";
import type { Env } from "../stores/config.ts";
import { mayReachClient } from "./token.ts";

/** @throws Refusal NOT_FOUND */
export async function assetFor(env: Env, claims: TokenClaims, fileId: string): Promise<Asset> {
  const asset = await assetDoor(env.ASSET, fileId).view();
  if (asset === null || !mayReachClient(claims, asset.clientName)) throw noSuchAsset();
  return asset;
}

export function noSuchAsset(): Refusal {
  return new Refusal("NOT_FOUND", "There is no such asset.");
}
