/** Tells those who watch that an alert was raised. */
import { feedDoor, feedsOf } from "../durable-objects/feed-door.ts";
import { severityOf } from "../schemas/alert.ts";
import { log } from "./log.ts";
import type { Env } from "./stores/config.ts";
import type { Alert } from "./stores/incident.ts";

/** Watchers are told once, when it is raised; who missed it asks for the open ones. Nulls: it concerns all of them. */
export async function tellAlert(
  env: Pick<Env, "FEED">,
  { cause: id, code, message, fileId }: Alert,
  { clientName, projectName }: { clientName: string | null; projectName: string | null },
): Promise<void> {
  const feeds = clientName === null ? [feedDoor(env.FEED, "*")] : feedsOf(env.FEED, clientName);
  const severity = severityOf(id);
  if (severity === "critical") log({ event: "alert.critical", cause: id, code, message });
  const frame = { type: "alert", id, severity, code, message, fileId } as const;
  for (const feed of feeds) {
    await feed.publish(clientName, projectName, frame).catch((fault: unknown) => {
      log({ event: "feed.unreachable", clientName: clientName ?? "*" }, fault);
    });
  }
}
