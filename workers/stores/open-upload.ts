/** Multipart uploads that consumers opened, noted in D1 before their first part so that none is billed for ever. */
import { z } from "zod";
import { answered } from "./catalogue.ts";

const OpenUploadRow = z.object({ upload_id: z.string(), key: z.string(), file_id: z.string() });

export interface OpenUpload {
  uploadId: string;
  key: string;
}

export async function noteUpload(
  database: D1Database,
  upload: OpenUpload & { fileId: string; openedAt: string },
): Promise<void> {
  const statement = database
    .prepare(
      "INSERT INTO open_uploads (upload_id, key, file_id, opened_at) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
    )
    .bind(upload.uploadId, upload.key, upload.fileId, upload.openedAt);
  await answered(statement.run());
}

/** Completed or aborted. */
export async function forgetUpload(database: D1Database, uploadId: string): Promise<void> {
  await answered(database.prepare("DELETE FROM open_uploads WHERE upload_id = ?").bind(uploadId).run());
}

/** Opened before `before`, the oldest first. */
export async function abandonedUploads(
  database: D1Database,
  before: string,
  limit: number,
): Promise<(OpenUpload & { fileId: string })[]> {
  const statement = database
    .prepare("SELECT upload_id, key, file_id FROM open_uploads WHERE opened_at < ?1 ORDER BY opened_at LIMIT ?2")
    .bind(before, limit);
  const { results } = await answered(statement.all());
  return results.map((row) => {
    const { upload_id, key, file_id } = OpenUploadRow.parse(row);
    return { uploadId: upload_id, key, fileId: file_id };
  });
}
