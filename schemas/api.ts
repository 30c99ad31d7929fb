/** Bodies of the HTTP API: requests, responses, problem+json. design names are contracts with outside clients. */
import { z } from "zod";
import { AlertSeverity } from "./alert.ts";
import { Asset, AssetState, AssetSummary, HistoryEntry, Links } from "./asset.ts";
import { UploadDeclaration } from "./event.ts";
import { FailureCode } from "./failure.ts";
import { FileId, Slug } from "./id.ts";
import { Quality } from "./ladder.ts";
import { RenditionProgress } from "./runner-protocol.ts";

export const UploadWebhook = z.strictObject({
  type: z.literal("upload.completed"),
  timestamp: z.iso.datetime({ offset: true }),
  data: UploadDeclaration,
});
export type UploadWebhook = z.infer<typeof UploadWebhook>;

export const UploadAccepted = z.object({ fileId: FileId, state: AssetState, links: Links });
export type UploadAccepted = z.infer<typeof UploadAccepted>;

export const AssetQuery = z.strictObject({
  client: Slug.optional(),
  project: Slug.optional(),
  state: AssetState.optional(),
  q: z.string().min(1).max(200).optional(),
  /** What the list is sorted by, the newest first. A cursor is of one order. */
  order: z.enum(["changed", "created"]).default("changed"),
  cursor: z.string().max(500).optional(),
  limit: z.coerce.number().int().min(1).max(200).default(50),
});
export type AssetQuery = z.infer<typeof AssetQuery>;

export const AssetPage = z.object({ assets: z.array(AssetSummary), cursor: z.string().nullable() });
export type AssetPage = z.infer<typeof AssetPage>;
export const HistoryPage = z.object({ entries: z.array(HistoryEntry), cursor: z.string().nullable() });

export const PlaybackRequest = z.strictObject({
  quality: Quality.optional(),
  ttlSeconds: z
    .int()
    .min(60)
    .max(24 * 3600)
    .default(4 * 3600),
  download: z.boolean().default(false),
});
export const PlaybackGrant = z.object({ url: z.url(), quality: Quality, expiresAt: z.iso.datetime() });
export type PlaybackGrant = z.infer<typeof PlaybackGrant>;

export const Ticket = z.object({ ticket: z.string(), expiresAt: z.iso.datetime() });

export const ProblemBody = z.object({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  code: FailureCode,
  detail: z.string(),
  requestId: z.string(),
  errors: z.array(z.object({ path: z.string(), message: z.string() })).optional(),
});
export type ProblemBody = z.infer<typeof ProblemBody>;

const ProgressFrame = z.object({
  type: z.literal("progress"),
  fileId: FileId,
  jobId: z.string(),
  percent: z.number(),
  renditions: z.array(RenditionProgress),
  fps: z.number(),
  speed: z.number(),
  etaSeconds: z.number().nullable(),
});
export type ProgressFrame = z.infer<typeof ProgressFrame>;

const SingleFrame = z.discriminatedUnion("type", [
  z.object({ type: z.literal("snapshot"), asset: Asset }),
  z.object({ type: z.literal("asset"), asset: Asset }),
  ProgressFrame,
  z.object({
    type: z.literal("alert"),
    id: z.string(),
    severity: AlertSeverity,
    code: FailureCode,
    message: z.string(),
    fileId: FileId.nullable(),
  }),
]);
export type SingleFrame = z.infer<typeof SingleFrame>;

/** What status sockets send. */
export const StatusFrame = z.union([SingleFrame, z.object({ type: z.literal("batch"), frames: z.array(SingleFrame) })]);
export type StatusFrame = z.infer<typeof StatusFrame>;

export const Role = z.enum(["uploader", "viewer", "editor", "render", "admin", "runner", "agent"]);
export type Role = z.infer<typeof Role>;

/** Claims of a bearer token. `clients` are names, or ["*"] for all. */
export const TokenClaims = z.object({
  sub: z.string().min(1),
  role: Role,
  clients: z.array(z.union([z.literal("*"), Slug])).min(1, 'must name at least one client, or be ["*"] for all'),
  exp: z.number(),
  /** Names the token, so that it can be ended alone. */
  jti: z.string().min(1).max(200).optional(),
  iat: z.number().optional(),
});
export type TokenClaims = z.infer<typeof TokenClaims>;
