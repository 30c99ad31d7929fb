/**
 * The one grammar of storage keys: builds them from checked parts and parses them back. Every key type is a brand of
 * its own, so that a key of one tier cannot be handed to the store of another (an original's key never fits R2).
 */
import { z } from "zod";
import { FileId, FileName, JobId, Slug } from "./id.ts";
import { Quality } from "./ladder.ts";

interface OwnedFile {
  clientName: string;
  projectName: string;
  fileId: string;
}

interface KeyGrammar<Parts> {
  build(parts: Parts): string;
  parse(key: string): Parts | null;
}

function parsed<Shape extends z.ZodRawShape>(schema: z.ZodObject<Shape>, candidate: unknown) {
  const result = schema.safeParse(candidate);
  return result.success ? result.data : null;
}

const OriginalParts = z.object({ clientName: Slug, projectName: Slug, fileId: FileId, fileName: FileName });
const ProxyParts = z.object({ clientName: Slug, projectName: Slug, fileId: FileId, quality: Quality });
const EdgeParts = z.object({ jobId: JobId, quality: Quality });

const originalGrammar: KeyGrammar<z.infer<typeof OriginalParts>> = {
  build: (p) => `originals/${p.clientName}/${p.projectName}/${p.fileId}/${p.fileName}`,
  parse(key) {
    const [root, clientName, projectName, fileId, fileName, ...rest] = key.split("/");
    if (root !== "originals" || rest.length > 0) return null;
    return parsed(OriginalParts, { clientName, projectName, fileId, fileName });
  },
};

const proxyGrammar: KeyGrammar<z.infer<typeof ProxyParts>> = {
  build: (p) => `proxies/${p.clientName}/${p.projectName}/${p.fileId}/${p.quality}.mp4`,
  parse(key) {
    const match = /^proxies\/([^/]+)\/([^/]+)\/([^/]+)\/([^/]+)\.mp4$/.exec(key);
    if (!match) return null;
    return parsed(ProxyParts, { clientName: match[1], projectName: match[2], fileId: match[3], quality: match[4] });
  },
};

const edgeGrammar: KeyGrammar<z.infer<typeof EdgeParts>> = {
  build: (p) => `proxies/${p.jobId}/${p.quality}.mp4`,
  parse(key) {
    const match = /^proxies\/([^/]+)\/([^/]+)\.mp4$/.exec(key);
    if (!match) return null;
    return parsed(EdgeParts, { jobId: match[1], quality: match[2] });
  },
};

const editorGrammar: KeyGrammar<z.infer<typeof ProxyParts>> = {
  build: (p) => `Clients/${p.clientName}/${p.projectName}/${p.fileId}_${p.quality}.mp4`,
  parse(key) {
    const match = /^Clients\/([^/]+)\/([^/]+)\/([^/]+)_([^_/]+)\.mp4$/.exec(key);
    if (!match) return null;
    return parsed(ProxyParts, { clientName: match[1], projectName: match[2], fileId: match[3], quality: match[4] });
  },
};

/** Only the canonical spelling parses: a key that does not build back to itself is refused. */
function canonical<Parts>(grammar: KeyGrammar<Parts>) {
  return (key: string) => {
    const parts = grammar.parse(key);
    return parts !== null && grammar.build(parts) === key;
  };
}

/** Wasabi: originals/{clientName}/{projectName}/{fileId}/{fileName} */
export const OriginalKey = z
  .string()
  .refine(canonical(originalGrammar), "is not the key of an original")
  .brand<"OriginalKey">();
export type OriginalKey = z.infer<typeof OriginalKey>;

/** Wasabi: proxies/{clientName}/{projectName}/{fileId}/{quality}.mp4 */
export const ProxyKey = z
  .string()
  .refine(canonical(proxyGrammar), "is not the Wasabi key of a proxy")
  .brand<"ProxyKey">();
export type ProxyKey = z.infer<typeof ProxyKey>;

/** R2: proxies/{jobId}/{quality}.mp4. The only key that the R2 store accepts. */
export const EdgeKey = z.string().refine(canonical(edgeGrammar), "is not the R2 key of a proxy").brand<"EdgeKey">();
export type EdgeKey = z.infer<typeof EdgeKey>;

/** LucidLink: Clients/{clientName}/{projectName}/{fileId}_{quality}.mp4, relative to the mount's root. */
export const EditorKey = z
  .string()
  .refine(canonical(editorGrammar), "is not the LucidLink path of a proxy")
  .brand<"EditorKey">();
export type EditorKey = z.infer<typeof EditorKey>;

export const originalKey = (file: OwnedFile & { fileName: string }) => OriginalKey.parse(originalGrammar.build(file));

export const proxyKey = (file: OwnedFile, quality: Quality) => ProxyKey.parse(proxyGrammar.build({ ...file, quality }));

export const edgeKey = (jobId: string, quality: Quality) => EdgeKey.parse(edgeGrammar.build({ jobId, quality }));

export const editorKey = (file: OwnedFile, quality: Quality) =>
  EditorKey.parse(editorGrammar.build({ ...file, quality }));

/** @returns the parts of a key, or null when it is not canonical. */
export const parseOriginalKey = (key: string) =>
  OriginalKey.safeParse(key).success ? originalGrammar.parse(key) : null;
export const parseProxyKey = (key: string) => (ProxyKey.safeParse(key).success ? proxyGrammar.parse(key) : null);
export const parseEdgeKey = (key: string) => (EdgeKey.safeParse(key).success ? edgeGrammar.parse(key) : null);
export const parseEditorKey = (key: string) => (EditorKey.safeParse(key).success ? editorGrammar.parse(key) : null);
