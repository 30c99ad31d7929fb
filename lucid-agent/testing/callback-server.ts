/** Receives callbacks and verifies their signatures on its own account; answers what it is told to, then 204. */
import { createHmac } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { AgentCallback } from "../../schemas/agent-protocol.ts";

export interface ReceivedCallback {
  webhookId: string;
  genuine: boolean;
  body: AgentCallback;
}

export interface CallbackServer {
  url: string;
  received: ReceivedCallback[];
  /** Statuses for the next calls. */
  answers: number[];
  stop(): Promise<void>;
}

export const callbackSecret = `whsec_${Buffer.from("a callback key, only for the tests").toString("base64")}`;

export async function startCallbackServer(): Promise<CallbackServer> {
  const received: ReceivedCallback[] = [];
  const answers: number[] = [];
  const server = createServer(async (request, response) => {
    let text = "";
    for await (const chunk of request) text += chunk;
    const webhookId = String(request.headers["webhook-id"]);
    const signed = `${webhookId}.${request.headers["webhook-timestamp"]}.${text}`;
    const key = Buffer.from(callbackSecret.slice("whsec_".length), "base64");
    const expected = `v1,${createHmac("sha256", key).update(signed).digest("base64")}`;
    const fresh = Math.abs(Date.now() / 1_000 - Number(request.headers["webhook-timestamp"])) < 300;
    const genuine = request.headers["webhook-signature"] === expected && fresh;
    received.push({ webhookId, genuine, body: AgentCallback.parse(JSON.parse(text)) });
    response.writeHead(answers.shift() ?? 204).end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/agent/callback`,
    received,
    answers,
    stop: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
