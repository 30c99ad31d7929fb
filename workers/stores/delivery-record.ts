/** The record of calls to the application, in D1: what was told, when, and how it was answered. */
import type { AppEventType } from "../../schemas/command.ts";
import { answered } from "./catalogue.ts";

export interface DeliveryAttempt {
  /** The webhook-id. */
  id: string;
  fileId: string;
  event: AppEventType;
  revision: number;
  /** null when nobody answered. */
  status: number | null;
  delivered: boolean;
  at: string;
}

const upsert = `
INSERT INTO app_deliveries (id, file_id, event, revision, attempts, last_status, last_attempt_at, delivered_at)
VALUES (?1, ?2, ?3, ?4, 1, ?5, ?6, ?7)
ON CONFLICT (id) DO UPDATE SET attempts = attempts + 1, last_status = ?5, last_attempt_at = ?6,
  delivered_at = coalesce(app_deliveries.delivered_at, ?7)`;

export async function recordDelivery(database: D1Database, attempt: DeliveryAttempt): Promise<void> {
  const { id, fileId, event, revision, status, delivered, at } = attempt;
  const statement = database.prepare(upsert).bind(id, fileId, event, revision, status, at, delivered ? at : null);
  await answered(statement.run());
}
