/** The operator's doors: try again what failed, and see what waits for a person. */
import { z } from "zod";
import { assetDoor } from "../../durable-objects/asset-door.ts";
import { Asset } from "../../schemas/asset.ts";
import { FailureCode } from "../../schemas/failure.ts";
import { FileId } from "../../schemas/id.ts";
import { Refusal } from "../problem.ts";
import { listAlerts, listDeadLetters } from "../stores/incident.ts";
import { assetFor, noSuchAsset } from "./asset-scope.ts";
import { reply, route } from "./route.ts";

const access = { by: "token", roles: ["admin"] } as const;

export const retryAsset = route({
  method: "POST",
  path: "/v1/admin/assets/{fileId}/retry",
  summary: "Try again every step that failed or waits.",
  access,
  params: z.strictObject({ fileId: FileId }),
  answers: { 200: Asset },
  async handle({ env, caller, requestId }, { params: { fileId } }) {
    await assetFor(env, caller, fileId);
    const { outcome, asset, reason } = await assetDoor(env.ASSET, fileId).apply({
      key: `retry:${requestId}`,
      by: `admin:${caller.sub}`.slice(0, 200),
      event: { type: "RetryRequested" },
    });
    if (asset === null) throw noSuchAsset();
    if (outcome === "rejected") throw new Refusal("CONFLICT", reason ?? `The asset is ${asset.state}.`);
    return reply(200, asset);
  },
});

const LIST_LENGTH = 200;

const DeadLetterPage = z.object({
  deadLetters: z.array(
    z.object({
      id: z.string(),
      queue: z.string(),
      commandType: z.string().nullable(),
      commandId: z.string().nullable(),
      fileId: z.string().nullable(),
      code: FailureCode,
      reason: z.string(),
      deadAt: z.string(),
    }),
  ),
  cursor: z.string().nullable(),
});

/** `deadAt id` of the last letter of the page before. */
const DeadLetterCursor = z
  .string()
  .max(300)
  .transform((text, ctx) => {
    const [deadAt, id, ...rest] = text.split(" ");
    if (deadAt !== undefined && id !== undefined && id !== "" && rest.length === 0) return { deadAt, id };
    ctx.addIssue({ code: "custom", message: "must be a cursor from an earlier page" });
    return z.NEVER;
  });

export const deadLetters = route({
  method: "GET",
  path: "/v1/admin/dead-letters",
  summary: "Commands that no consumer could carry out, oldest first. Bodies are not told: they may hold signed URLs.",
  access,
  query: z.strictObject({ cursor: DeadLetterCursor.optional() }),
  answers: { 200: DeadLetterPage },
  async handle({ env }, { query }) {
    const letters = await listDeadLetters(env.CATALOGUE, { after: query.cursor ?? null, limit: LIST_LENGTH });
    const last = letters.length === LIST_LENGTH ? letters.at(-1) : undefined;
    const cursor = last === undefined ? null : `${last.deadAt} ${last.id}`;
    return reply(200, { deadLetters: letters.map(({ body: _, ...letter }) => letter), cursor });
  },
});

const AlertList = z.object({
  alerts: z.array(
    z.object({
      cause: z.string(),
      code: FailureCode,
      message: z.string(),
      fileId: z.string().nullable(),
      times: z.int(),
      firstAt: z.string(),
      lastAt: z.string(),
    }),
  ),
});

export const alerts = route({
  method: "GET",
  path: "/v1/admin/alerts",
  summary: "Open alerts, the newest first, one per cause.",
  access,
  answers: { 200: AlertList },
  async handle({ env }) {
    const rows = await listAlerts(env.CATALOGUE, LIST_LENGTH);
    return reply(200, {
      alerts: rows.map(({ file_id, first_at, last_at, ...alert }) => ({
        ...alert,
        fileId: file_id,
        firstAt: first_at,
        lastAt: last_at,
      })),
    });
  },
});
