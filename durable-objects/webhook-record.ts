/**
 * What was said under each webhook-id, so that the same id cannot say two things. Kept by some Feed objects of their own:
 * the id's own hash chooses which, so that one object decides who was first, whatever file the webhooks are about.
 */

const keptForMs = 14 * 24 * 3600 * 1000;
const pruneIntervalMs = 3600 * 1000;

/** A digest of each field, by its path. */
export type WebhookFields = Readonly<Record<string, string>>;

export class WebhookRecord {
  readonly #sql: SqlStorage;
  #prunedAtMs = 0;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  /** The first one stands. @returns the paths in which these fields differ from it; none for the first, or the same again */
  differences(id: string, fields: WebhookFields, atMs: number): string[] {
    this.#sql.exec(
      "CREATE TABLE IF NOT EXISTS webhook (id TEXT PRIMARY KEY, fields TEXT NOT NULL, at_ms INTEGER NOT NULL) WITHOUT ROWID",
    );
    this.#prune(atMs);
    const row = this.#sql.exec<{ fields: string }>("SELECT fields FROM webhook WHERE id = ?", id).next();
    if (row.done) {
      this.#sql.exec("INSERT INTO webhook (id, fields, at_ms) VALUES (?, ?, ?)", id, JSON.stringify(fields), atMs);
      return [];
    }
    const first: WebhookFields = JSON.parse(row.value.fields);
    const paths = new Set([...Object.keys(first), ...Object.keys(fields)]);
    return [...paths].filter((path) => first[path] !== fields[path]);
  }

  #prune(atMs: number): void {
    if (atMs - this.#prunedAtMs < pruneIntervalMs) return;
    this.#prunedAtMs = atMs;
    this.#sql.exec("DELETE FROM webhook WHERE at_ms < ?", atMs - keptForMs);
  }
}

/** @param data what a webhook says, plain and nested. Digests, as a source URL may be signed. */
export async function fieldsOf(data: object, path = "data"): Promise<WebhookFields> {
  const fields: Record<string, string> = {};
  for (const [name, value] of Object.entries(data)) {
    const at = `${path}.${name}`;
    if (typeof value === "object" && value !== null) Object.assign(fields, await fieldsOf(value, at));
    else if (value !== undefined) fields[at] = await digestOf(JSON.stringify(value));
  }
  return fields;
}

async function digestOf(text: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return btoa(String.fromCharCode(...new Uint8Array(digest, 0, 12)));
}

const objects = 16;

/** @returns the name of the object that keeps this id */
export async function recordNameOf(id: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(id));
  return `webhooks:${(new Uint8Array(digest)[0] ?? 0) % objects}`;
}
