/** What the key that signed an upload webhook may say: for which client, from which sources. Pure. */
import type { UploadDeclaration } from "../../schemas/event.ts";
import type { FieldError } from "../../schemas/issue-sentence.ts";
import type { UploadKey } from "../stores/upload-key.ts";

export function speaksFor({ clients }: UploadKey, clientName: string): boolean {
  return clients === "*" || clients.includes(clientName);
}

/** Compared letter by letter, as S3 does; a key with dot segments is refused before. @returns null for what it may say */
export function scopeFault(key: UploadKey, { clientName, source }: UploadDeclaration): FieldError | null {
  if (!speaksFor(key, clientName)) {
    return { path: "data.clientName", message: `is no client that the key ${key.kid} speaks for` };
  }
  if (source.kind === "url") {
    const { host } = new URL(source.url);
    if (key.sourceHosts === null || key.sourceHosts.includes(host)) return null;
    return { path: "data.source.url", message: `is at no host that the key ${key.kid} may name` };
  }
  const prefixes = key.sourcePrefixes ?? (key.clients === "*" ? [""] : [`originals/${clientName}/`]);
  if (prefixes.some((prefix) => source.key.startsWith(prefix))) return null;
  return { path: "data.source.key", message: `lies under no prefix that the key ${key.kid} may name` };
}
