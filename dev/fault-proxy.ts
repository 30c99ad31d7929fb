/**
 * Every link of the local stack behind a proxy that can misbehave, and the one door through which it is told to: bearer
 * token, loopback only. A link starts, and starts again, with the rule `pass`.
 */
import { timingSafeEqual } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import { z } from "zod";
import { type FaultLink, openFaultLink } from "./fault-link.ts";
import { FaultRule, pass } from "./fault-rule.ts";

const Port = z.int().min(0).max(65_535);

export const FaultProxyConfig = z.strictObject({
  port: Port,
  token: z.string().min(1),
  links: z.array(z.strictObject({ name: z.string().min(1), port: Port, targetPort: Port })).min(1),
});
export type FaultProxyConfig = z.infer<typeof FaultProxyConfig>;

export const LinkStatus = z.object({
  rule: FaultRule,
  struck: z.int(),
  firstStruckAtMs: z.number().nullable(),
  openConnections: z.int(),
});

export type FaultProxy = { port: number; link(name: string): FaultLink; close(): Promise<void> };

type Answer = { status: number; body: unknown };

const longestBodyBytes = 64 * 1024;

export async function startFaultProxy(config: FaultProxyConfig): Promise<FaultProxy> {
  const links: FaultLink[] = [];
  for (const plan of config.links) links.push(await openFaultLink(plan));
  const find = (name: string) => links.find((link) => link.name === name);

  async function answer(request: IncomingMessage): Promise<Answer> {
    if (!hasToken(request, config.token)) return { status: 401, body: "the token is missing or wrong" };
    const [, room, name, ...rest] = (request.url ?? "").split("/").map(decodeURIComponent);
    if (room !== "links" || rest.length > 0) return { status: 404, body: "only /links and /links/NAME are here" };
    if (name === undefined) {
      if (request.method === "DELETE") for (const link of links) link.setRule(pass);
      return { status: 200, body: Object.fromEntries(links.map((link) => [link.name, link.status()])) };
    }
    const link = find(name);
    if (link === undefined) return { status: 404, body: `there is no link ${name}` };
    if (request.method === "PUT") {
      const rule = FaultRule.safeParse(await readJsonBody(request));
      if (!rule.success) return { status: 400, body: z.prettifyError(rule.error) };
      link.setRule(rule.data);
    }
    return { status: 200, body: link.status() };
  }

  const server = createServer((request, response) => {
    void answer(request)
      .catch((error: unknown): Answer => ({ status: 500, body: String(error) }))
      .then(({ status, body }) => {
        response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
      });
  });
  server.listen(config.port, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : config.port,
    link(name) {
      const link = find(name);
      if (link === undefined) throw new Error(`there is no link ${name}`);
      return link;
    },
    async close() {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await Promise.all([closed, ...links.map((link) => link.close())]);
    },
  };
}

function hasToken(request: IncomingMessage, token: string): boolean {
  const given = Buffer.from(request.headers.authorization ?? "");
  const wanted = Buffer.from(`Bearer ${token}`);
  return given.length === wanted.length && timingSafeEqual(given, wanted);
}

async function readJsonBody(request: IncomingMessage): Promise<unknown> {
  let text = "";
  for await (const chunk of request.setEncoding("utf8")) {
    text += String(chunk);
    if (text.length > longestBodyBytes) return null;
  }
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
