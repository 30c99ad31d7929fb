/** The operator's doors: try again what failed, and see what went wrong. */
import { z } from "zod";
import { assetDoor } from "../../durable-objects/asset-door.ts";
import { AlertSeverity, severityOf } from "../../schemas/alert.ts";
import { Asset } from "../../schemas/asset.ts";
import { Priority } from "../../schemas/event.ts";
import { FailureCode } from "../../schemas/failure.ts";
import { FileId } from "../../schemas/id.ts";
import { Refusal } from "../problem.ts";
import { listAlerts } from "../stores/incident.ts";
import { asRetained } from "../stores/retained.ts";
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
    return reply(200, await asRetained(env, asset));
  },
});

export const prioritizeAsset = route({
  method: "POST",
  path: "/v1/admin/assets/{fileId}/prioritize",
  summary: "Change the priority of its encodes; a job that waits moves to the queue that this leads to.",
  access,
  params: z.strictObject({ fileId: FileId }),
  body: z.strictObject({ priority: Priority }),
  answers: { 200: Asset },
  async handle({ env, caller, requestId }, { params: { fileId }, body: { priority } }) {
    await assetFor(env, caller, fileId);
    const { asset } = await assetDoor(env.ASSET, fileId).apply({
      key: `prioritize:${requestId}`,
      by: `admin:${caller.sub}`.slice(0, 200),
      event: { type: "PriorityChanged", priority },
    });
    if (asset === null) throw noSuchAsset();
    return reply(200, await asRetained(env, asset));
  },
});

const LIST_LENGTH = 200;

const AlertList = z.object({
  alerts: z.array(
    z.object({
      cause: z.string(),
      severity: AlertSeverity,
      code: FailureCode,
      message: z.string(),
      clientName: z.string().nullable(),
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
  summary:
    "Open alerts, one per cause: what is critical first, then the newest. Only unscoped tokens see those of no client.",
  access,
  answers: { 200: AlertList },
  async handle({ env, caller }) {
    const rows = await listAlerts(env.CATALOGUE, LIST_LENGTH, caller.clients);
    return reply(200, {
      alerts: rows.map(({ client_name, file_id, first_at, last_at, ...alert }) => ({
        ...alert,
        severity: severityOf(alert.cause),
        clientName: client_name,
        fileId: file_id,
        firstAt: first_at,
        lastAt: last_at,
      })),
    });
  },
});
