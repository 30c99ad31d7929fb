/** What delivery tells others of a viewing: seldom, after the response, and never in the viewer's way. */
import { type AssetDoor, assetDoor } from "../../durable-objects/asset-door.ts";
import type { AssetEvent } from "../../schemas/event.ts";
import { tellAlert } from "../alert-feed.ts";
import { log } from "../log.ts";
import { raiseAlert } from "../stores/incident.ts";
import { StoreFailure } from "../stores/store-failure.ts";
import type { Delivery } from "./delivery.ts";
import { onceIn } from "./once-in-a-while.ts";

const HOUR_MS = 60 * 60 * 1000;
const MINUTE_MS = 60 * 1000;

/** One alert for the deployment: when tiers fail, they fail for everybody. */
export const unservedCause = "delivery:unserved";

/** A viewing counts as one access an hour: retention counts in days. */
export function noteAccess(delivery: Delivery): void {
  const { jobId, quality } = delivery.target;
  noteEvent(delivery, "access", HOUR_MS, { type: "ProxyAccessed", tier: "r2", quality, jobId });
}

/** Asked for again each minute while it is missing: a proxy that leaves R2 may be wanted back within the hour. */
export function noteMiss(delivery: Delivery): void {
  const { jobId, quality } = delivery.target;
  noteEvent(delivery, "promote", MINUTE_MS, { type: "ProxyRequested", quality, jobId });
}

export function noteLoss(delivery: Delivery, error: Error): void {
  const { jobId, quality } = delivery.target;
  noteEvent(delivery, "lost", MINUTE_MS, { type: "ArchiveLost", quality, jobId, message: error.message });
}

export function noteUnserved(delivery: Delivery, fault: unknown): void {
  const { env, target, nowMs } = delivery;
  const code = fault instanceof StoreFailure ? fault.code : "UNAVAILABLE";
  const message = `A viewer's proxy could not be served: R2 has not, and Wasabi failed (proxies/${target.jobId}).`;
  note(delivery, { name: "unserved", subject: "all", periodMs: MINUTE_MS }, async () => {
    const alert = { cause: unservedCause, code, message, fileId: null };
    const isNew = await raiseAlert(env.CATALOGUE, alert, new Date(nowMs).toISOString());
    if (isNew) await tellAlert(env, alert, { clientName: null, projectName: null });
  });
}

/** The asset of a viewing. */
export function doorOf({ env, target }: Delivery): AssetDoor {
  return assetDoor(env.ASSET, target.fileId);
}

function noteEvent(delivery: Delivery, name: string, periodMs: number, event: AssetEvent): void {
  const subject = `${delivery.target.jobId}:${delivery.target.quality}`;
  note(delivery, { name, subject, periodMs }, async (count) => {
    await doorOf(delivery).apply({ key: `${name}:${subject}:${count}`, by: "delivery", event });
  });
}

function note(
  { ctx, facts, nowMs }: Delivery,
  { name, subject, periodMs }: { name: string; subject: string; periodMs: number },
  report: (count: number) => Promise<void>,
): void {
  const telling = onceIn({ name: `${name}/${subject}`, lengthMs: periodMs }, nowMs, report);
  if (telling === null) return;
  const failed = (error: unknown) => log({ event: "delivery.note-failed", ...facts, note: name }, error);
  ctx.waitUntil(telling.catch(failed));
}
