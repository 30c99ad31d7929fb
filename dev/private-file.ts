/** Files that hold secrets: mode 0600 from their first byte, replaced atomically. */
import { readFile, rename, writeFile } from "node:fs/promises";
import type { z } from "zod";

export async function writePrivateJson(path: string, value: unknown): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`;
  await writeFile(temporary, `${JSON.stringify(value, null, 2)}\n`, { mode: 0o600 });
  await rename(temporary, path);
}

/** @returns null when the file is not there; throws a readable error when its content is not what it should be. */
export async function readJson<Schema extends z.ZodType>(
  path: string,
  schema: Schema,
): Promise<z.infer<Schema> | null> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Error(`${path} is not JSON. Remove it to start afresh.`);
  }
  const parsed = schema.safeParse(value);
  if (!parsed.success)
    throw new Error(`${path} has another shape than this version expects. Remove it to start afresh.`);
  return parsed.data;
}
