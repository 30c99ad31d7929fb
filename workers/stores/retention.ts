/** Who may be due to leave R2, asked of D1: the oldest of one quality first, so that it costs what is due, not what exists. */
import { z } from "zod";
import { FileId } from "../../schemas/id.ts";
import type { Quality } from "../../schemas/ladder.ts";
import { answered } from "./catalogue.ts";

const Row = z.object({ file_id: FileId });

/** Copies of one quality that nobody has played since, by the index copies_by_idleness. The object decides. */
export async function idleCopies(
  database: D1Database,
  quality: Quality,
  /** ISO 8601. */
  { idleSince, now }: { idleSince: string; now: string },
  atMost: number,
): Promise<FileId[]> {
  const statement = database
    .prepare(
      `SELECT file_id FROM copies
       WHERE tier = 'r2' AND status = 'placed' AND quality = ? AND idle_since <= ?
         AND (pinned_until IS NULL OR pinned_until <= ?)
       ORDER BY idle_since LIMIT ?`,
    )
    .bind(quality, idleSince, now, atMost);
  const { results } = await answered(statement.all());
  return results.map((row) => Row.parse(row).file_id);
}
