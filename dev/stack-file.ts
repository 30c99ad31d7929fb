/** DIR/stack.json: all that an outside client needs to drive a running stack. Mode 0600: it holds keys and tokens. */
import { join } from "node:path";
import { z } from "zod";
import { readJson, writePrivateJson } from "./private-file.ts";

export const StackFile = z.object({
  api: z.url(),
  wasabi: z.object({
    endpoint: z.url(),
    bucket: z.string(),
    region: z.string(),
    accessKeyId: z.string(),
    secretAccessKey: z.string(),
  }),
  lucidlink: z.object({ url: z.url(), root: z.string(), token: z.string() }),
  /** Cloudflare's API, as far as it tells of the queues. */
  queues: z.object({ apiUrl: z.url(), accountId: z.string(), token: z.string() }).optional(),
  webhookSecret: z.string(),
  /** Where the application's database is told, and the file its receiver appends to. */
  appWebhook: z.object({ url: z.url(), secret: z.string(), file: z.string() }).optional(),
  tokens: z.object({
    admin: z.string(),
    uploader: z.string(),
    viewer: z.string(),
    editor: z.string(),
    render: z.string(),
    runner: z.string(),
  }),
  /** Overrides of the default policy, as given with --policy. */
  policy: z.record(z.string(), z.unknown()).optional(),
  /** Only of a stack that was started with --faults: the doors that are told what should go wrong. */
  faults: z
    .object({
      /** `/links` below it: the proxies. */
      url: z.url(),
      /** The switch of the R2 binding. */
      r2Url: z.url(),
      token: z.string(),
      links: z.array(z.string()),
    })
    .optional(),
  /** By child; each is the leader of its own process group. Empty when the stack is down. */
  pids: z.record(z.string(), z.int().positive()),
});
export type StackFile = z.infer<typeof StackFile>;

export function stackFilePath(dataDirectory: string): string {
  return join(dataDirectory, "stack.json");
}

export async function readStackFile(dataDirectory: string): Promise<StackFile | null> {
  return await readJson(stackFilePath(dataDirectory), StackFile);
}

export async function writeStackFile(dataDirectory: string, file: StackFile): Promise<void> {
  await writePrivateJson(stackFilePath(dataDirectory), file);
}
