/** The Feed object's door: status of many assets for those who watch them, and the one-use tickets of sockets. */
import type { SingleFrame, TokenClaims } from "../schemas/api.ts";
import { fieldsOf, recordNameOf, type WebhookFields } from "./webhook-record.ts";

export interface FeedDoor {
  /** Nulls: it concerns every client, every project. */
  publish(clientName: string | null, projectName: string | null, frame: SingleFrame): Promise<void>;
  /** WebSocket upgrade: `/status?client=&project=`; the worker has checked who asks. */
  fetch(request: Request): Promise<Response>;
  issueTicket(claims: TokenClaims): Promise<{ ticket: string; expiresAtMs: number }>;
  /** @returns null for a ticket that is unknown, used or too old. */
  redeemTicket(ticket: string): Promise<TokenClaims | null>;
  /** @returns the paths in which this differs from what was said first under the id */
  differences(webhookId: string, fields: WebhookFields): Promise<string[]>;
}

/** The feed of one client's assets, or of all of them. */
export function feedDoor(namespace: DurableObjectNamespace, name: string | "*"): FeedDoor {
  // As with the Asset object's door: the class implements this interface.
  return namespace.getByName(`feed:${name}`) as unknown as FeedDoor;
}

/** The feeds that an asset of this client reports to. */
export function feedsOf(namespace: DurableObjectNamespace, clientName: string): FeedDoor[] {
  return [feedDoor(namespace, clientName), feedDoor(namespace, "*")];
}

export function ticketDoor(namespace: DurableObjectNamespace): FeedDoor {
  return namespace.getByName("tickets") as unknown as FeedDoor;
}

/**
 * Notes what is said under a webhook-id. The first one stands, for two weeks.
 * @returns the paths of the fields in which this differs from it
 */
export async function webhookDifferences(
  namespace: DurableObjectNamespace,
  webhookId: string,
  data: object,
): Promise<string[]> {
  const [name, fields] = await Promise.all([recordNameOf(webhookId), fieldsOf(data)]);
  const door = namespace.getByName(name) as unknown as FeedDoor;
  try {
    return await door.differences(webhookId, fields);
  } catch (fault) {
    // During a deployment the object may still run the release that kept no such record.
    if (fault instanceof TypeError && fault.message.includes('does not implement the method "differences"')) return [];
    throw fault;
  }
}
