/**
 * What an outside client reads, written down from the API's description and not from the code's own schemas: a name that
 * changes there breaks clients, and so it breaks these tests.
 */
import { z } from "zod";

const Address = z.url();

/** DIR/stack.json */
export const StackFacts = z.object({
  api: Address,
  wasabi: z.object({
    endpoint: Address,
    bucket: z.string(),
    region: z.string(),
    accessKeyId: z.string(),
    secretAccessKey: z.string(),
  }),
  lucidlink: z.object({ url: Address, root: z.string(), token: z.string() }),
  webhookSecret: z.string(),
  appWebhook: z.object({ url: Address, secret: z.string(), file: z.string() }).optional(),
  tokens: z.object({
    admin: z.string(),
    uploader: z.string(),
    viewer: z.string(),
    editor: z.string(),
    render: z.string(),
    runner: z.string(),
  }),
  pids: z.record(z.string(), z.int()),
});
export type StackFacts = z.infer<typeof StackFacts>;

const Time = z.iso.datetime();
const State = z.enum([
  "received",
  "archived",
  "transcoding",
  "distributing",
  "distributed",
  "evicted",
  "failed",
  "cancelled",
  "deleting",
  "deleted",
]);
const Problem = z.object({
  step: z.string(),
  code: z.string(),
  message: z.string(),
  since: Time,
  retryable: z.boolean(),
  nextAttemptAt: Time.nullable(),
});
const Copy = z.object({
  tier: z.enum(["wasabi", "r2", "lucidlink"]),
  key: z.string(),
  status: z.enum(["wanted", "placing", "placed", "removing", "evicted", "failed"]),
  placedAt: Time.nullable(),
  verifiedAt: Time.nullable(),
  problem: Problem.nullable(),
});
const Rendition = z.object({
  quality: z.string(),
  status: z.string(),
  jobId: z.string(),
  width: z.int().nullable(),
  height: z.int().nullable(),
  frames: z.int().nullable(),
  durationSeconds: z.number().nullable(),
  sizeBytes: z.int().nullable(),
  sha256: z.object({ partSizeBytes: z.int(), parts: z.int(), composite: z.string() }).nullable(),
  copies: z.array(Copy),
});
export const Asset = z.object({
  fileId: z.string(),
  clientName: z.string(),
  projectName: z.string(),
  fileName: z.string(),
  sizeBytes: z.int(),
  state: State,
  revision: z.int(),
  generation: z.int(),
  jobId: z.string().nullable(),
  problem: Problem.nullable(),
  original: z
    .object({ tier: z.literal("wasabi"), key: z.string(), sizeBytes: z.int(), etag: z.string(), verifiedAt: Time })
    .nullable(),
  source: z
    .object({
      container: z.string(),
      durationSeconds: z.number(),
      width: z.int(),
      height: z.int(),
      fps: z.number(),
      videoCodec: z.string(),
      audio: z.array(z.looseObject({})),
      damage: z.array(z.object({ fromSeconds: z.number(), toSeconds: z.number(), what: z.string() })).optional(),
      rotation: z.int(),
    })
    .nullable(),
  renditions: z.array(Rendition),
  progress: z.object({ percent: z.number(), fps: z.number(), speed: z.number() }).nullable(),
  createdAt: Time,
  updatedAt: Time,
  links: z.object({ self: z.string(), status: z.string(), history: z.string() }),
});
export type Asset = z.infer<typeof Asset>;

export const UploadAnswer = z.object({ fileId: z.string(), state: State, links: Asset.shape.links });

export const AssetSummary = z.object({
  fileId: z.string(),
  clientName: z.string(),
  fileName: z.string(),
  state: State,
  revision: z.int(),
  problemCode: z.string().nullable(),
});
export const AssetPage = z.object({ assets: z.array(AssetSummary), cursor: z.string().nullable() });
export type AssetPage = z.infer<typeof AssetPage>;

export const HistoryEntry = z.object({
  revision: z.int(),
  at: Time,
  event: z.string(),
  by: z.string(),
  state: State,
  detail: z.record(z.string(), z.unknown()),
});
export type HistoryEntry = z.infer<typeof HistoryEntry>;
export const HistoryPage = z.object({ entries: z.array(HistoryEntry), cursor: z.string().nullable() });
export type HistoryPage = z.infer<typeof HistoryPage>;

export const Grant = z.object({ url: z.url(), quality: z.string(), expiresAt: Time });
export const Ticket = z.object({ ticket: z.string(), expiresAt: Time });

export const ProblemBody = z.object({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  code: z.string(),
  detail: z.string(),
  requestId: z.string().min(1),
  errors: z.array(z.object({ path: z.string(), message: z.string() })).optional(),
});
export type ProblemBody = z.infer<typeof ProblemBody>;

const SingleFrame = z.discriminatedUnion("type", [
  z.object({ type: z.literal("snapshot"), asset: Asset }),
  z.object({ type: z.literal("asset"), asset: Asset }),
  z.object({
    type: z.literal("progress"),
    fileId: z.string(),
    jobId: z.string(),
    percent: z.number().min(0).max(100),
    renditions: z.array(z.object({ quality: z.string(), percent: z.number(), uploadedBytes: z.int() })),
    fps: z.number(),
    speed: z.number(),
    etaSeconds: z.number().nullable(),
  }),
  z.looseObject({ type: z.literal("alert") }),
]);
export type SingleFrame = z.infer<typeof SingleFrame>;

const Frame = z.union([SingleFrame, z.object({ type: z.literal("batch"), frames: z.array(SingleFrame) })]);

export function framesOf(text: string): SingleFrame[] {
  const frame = Frame.parse(JSON.parse(text));
  return frame.type === "batch" ? frame.frames : [frame];
}

/** One line of the receiver that stands where the application's database does; it takes signed calls only. */
export const AppCall = z.object({
  id: z.string().min(1),
  body: z.object({ type: z.string(), timestamp: Time, data: z.object({ asset: Asset }) }),
});
export type AppCall = z.infer<typeof AppCall>;
