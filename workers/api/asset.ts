/** Assets as clients read them: the list from the catalogue, one asset and its history from its object. */
import { z } from "zod";
import { assetDoor } from "../../durable-objects/asset-door.ts";
import { AssetPage, AssetQuery, HistoryPage } from "../../schemas/api.ts";
import { Asset } from "../../schemas/asset.ts";
import { EvidencePage } from "../../schemas/evidence.ts";
import { FileId } from "../../schemas/id.ts";
import { listAssets as listCatalogue } from "../stores/catalogue.ts";
import { asRetained } from "../stores/retained.ts";
import { assetFor } from "./asset-scope.ts";
import { peopleRoles } from "./role.ts";
import { reply, route } from "./route.ts";

const HISTORY_PAGE_LENGTH = 100;

const access = { by: "token", roles: peopleRoles } as const;
const params = z.strictObject({ fileId: FileId });

export const listAssets = route({
  method: "GET",
  path: "/v1/assets",
  summary:
    "The assets of the token's clients, by their newest change or, in a stable order, by creation; newest first.",
  access,
  query: AssetQuery,
  answers: { 200: AssetPage },
  async handle({ env, caller }, { query }) {
    return reply(200, await listCatalogue(env.CATALOGUE, caller.clients, query));
  },
});

export const oneAsset = route({
  method: "GET",
  path: "/v1/assets/{fileId}",
  summary: "The asset as its object knows it: state, problem, renditions and where each copy lies.",
  access,
  params,
  answers: { 200: Asset },
  async handle({ env, caller }, input) {
    return reply(200, await asRetained(env, await assetFor(env, caller, input.params.fileId)));
  },
});

export const assetHistory = route({
  method: "GET",
  path: "/v1/assets/{fileId}/history",
  summary: "What happened to the asset, newest first.",
  access,
  params,
  query: z.strictObject({
    cursor: z.coerce.number("must be a cursor from an earlier page").int().positive().optional(),
  }),
  answers: { 200: HistoryPage },
  async handle({ env, caller }, { params: { fileId }, query }) {
    await assetFor(env, caller, fileId);
    const entries = await assetDoor(env.ASSET, fileId).history(query.cursor ?? null, HISTORY_PAGE_LENGTH);
    const oldest = entries.length === HISTORY_PAGE_LENGTH ? entries.at(-1)?.revision : undefined;
    return reply(200, { entries, cursor: oldest === undefined ? null : String(oldest) });
  },
});

export const assetEvidence = route({
  method: "GET",
  path: "/v1/assets/{fileId}/evidence",
  summary: "What speaks for each copy that is there: size, ETag and checksum, and who verified them, when and how.",
  access,
  params,
  answers: { 200: EvidencePage },
  async handle({ env, caller }, { params: { fileId } }) {
    await assetFor(env, caller, fileId);
    return reply(200, { copies: await assetDoor(env.ASSET, fileId).evidence() });
  },
});
