/**
 * Stands where the application's database does: takes the worker's signed calls, refuses unsigned ones, and appends
 * each as one line to app-webhook.jsonl.
 */
import { appendFile } from "node:fs/promises";
import { createServer, type IncomingMessage } from "node:http";
import { z } from "zod";
import { receiveConfig, stopOnSignal } from "./child-runtime.ts";
import { verifyWebhook } from "./standard-webhook.ts";

const AppWebhookConfig = z.strictObject({
  port: z.int(),
  secret: z.string().min(1),
  file: z.string().min(1),
});

const maxBodyBytes = 1024 * 1024;

async function readBody(request: IncomingMessage): Promise<string | null> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of request) {
    sizeBytes += (chunk as Buffer).length;
    if (sizeBytes > maxBodyBytes) return null;
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks).toString("utf8");
}

const config = await receiveConfig(AppWebhookConfig);

async function answer(request: IncomingMessage): Promise<[status: number, text: string]> {
  if (request.url === "/healthz") return [200, "ok"];
  if (request.method !== "POST") return [405, "POST only"];
  const body = await readBody(request);
  if (body === null) return [413, "too large"];
  const refusal = verifyWebhook(config.secret, request.headers, new Date(), body);
  if (refusal !== null) return [401, refusal];
  const line = {
    receivedAt: new Date().toISOString(),
    id: request.headers["webhook-id"],
    body: JSON.parse(body) as unknown,
  };
  await appendFile(config.file, `${JSON.stringify(line)}\n`, { mode: 0o600 });
  return [204, ""];
}

const server = createServer((request, response) => {
  void answer(request)
    .catch((error: unknown): [number, string] => [500, String(error)])
    .then(([status, text]) => {
      console.log(
        JSON.stringify({
          level: status < 400 ? "info" : "warn",
          time: Date.now(),
          msg: "call",
          url: request.url,
          status,
        }),
      );
      response.writeHead(status).end(text);
    });
});
server.listen(config.port, "127.0.0.1");
stopOnSignal(async () => {
  server.closeAllConnections();
  server.close();
});
