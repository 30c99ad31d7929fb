/** The agent's addresses: each checks its input, asks the engine or the tree, and answers JSON. */
import { type IRequest, json, Router } from "itty-router";
import {
  type AgentHealth,
  FileQuery,
  PlaceRequest,
  RemoveRequest,
  TransferId,
  TransferQuery,
} from "../schemas/agent-protocol.ts";
import { bearerCheck } from "./bearer.ts";
import { withinDeadline } from "./failure.ts";
import { listFiles } from "./file-store.ts";
import { parseInput, Refusal } from "./problem.ts";
import type { TransferEngine } from "./transfer-engine.ts";
import { openTree, type Space, spaceOf, type TreeSettings } from "./tree.ts";

export interface RouterSettings {
  token: string;
  tree: TreeSettings;
  /** Where callbacks may go; null: wherever the bearer says. */
  callbackOrigin: string | null;
  fileSystemTimeoutMs: number;
}

export function createRouter(
  settings: RouterSettings,
  engine: TransferEngine,
): (request: Request) => Promise<Response> {
  const authorised = bearerCheck(settings.token);
  const router = Router<IRequest, [], Response>();

  router.get("/healthz", async () => {
    const health = await healthOf(settings, engine);
    return json(health, { status: health.status === "ok" ? 200 : 503 });
  });
  router.all("*", (request) => {
    if (authorised(request.headers.get("authorization"))) return;
    throw new Refusal("UNAUTHENTICATED", "Send the agent's bearer token.", {
      headers: { "www-authenticate": "Bearer" },
    });
  });
  router.get("/v1/transfers", (request) => json(engine.list(parseInput(TransferQuery, query(request), "query"))));
  router.get("/v1/transfers/:id", (request) => {
    const transfer = engine.get(idOf(request));
    if (transfer === null) throw new Refusal("NOT_FOUND", "There is no such transfer.");
    return json(transfer);
  });
  router.put("/v1/transfers/:id", async (request) => {
    const id = idOf(request);
    const place = parseInput(PlaceRequest, await bodyOf(request), "body");
    requireCallbackOrigin(place.callback.url, settings.callbackOrigin);
    const { transfer, started } = await engine.put(id, place);
    return json(transfer, { status: started ? 202 : 200 });
  });
  router.delete("/v1/transfers/:id", async (request) => {
    await engine.cancel(idOf(request));
    return new Response(null, { status: 204 });
  });
  router.get("/v1/files", async (request) => {
    const files = parseInput(FileQuery, query(request), "query");
    return json(await withinDeadline(listFiles(files, settings.tree), settings.fileSystemTimeoutMs));
  });
  router.delete("/v1/files", async (request) => {
    return json(await engine.remove(parseInput(RemoveRequest, query(request), "query")));
  });
  allowOnly(router, "/healthz", ["GET"]);
  allowOnly(router, "/v1/transfers", ["GET"]);
  allowOnly(router, "/v1/transfers/:id", ["GET", "PUT", "DELETE"]);
  allowOnly(router, "/v1/files", ["GET", "DELETE"]);
  router.all("*", () => {
    throw new Refusal("NOT_FOUND", "There is no such address.");
  });
  return (request) => router.fetch(request);
}

function allowOnly(router: ReturnType<typeof Router<IRequest, [], Response>>, path: string, methods: string[]): void {
  const allow = methods.join(", ");
  router.all(path, () => {
    throw new Refusal("METHOD_NOT_ALLOWED", `This address answers ${allow}.`, { headers: { allow } });
  });
}

function query(request: IRequest): Record<string, string> {
  return Object.fromEntries(new URL(request.url).searchParams);
}

function idOf(request: IRequest): TransferId {
  const given = request.params.id ?? "";
  try {
    return parseInput(TransferId, decodeURIComponent(given), "path");
  } catch (error) {
    if (error instanceof URIError) throw new Refusal("BAD_REQUEST", "The transfer id is not well encoded.");
    throw error;
  }
}

async function bodyOf(request: IRequest): Promise<unknown> {
  if (!/^application\/json\b/i.test(request.headers.get("content-type") ?? "")) {
    throw new Refusal("UNSUPPORTED_MEDIA_TYPE", "Send application/json.");
  }
  try {
    return await request.json();
  } catch {
    throw new Refusal("BAD_REQUEST", "The request's body is not JSON.");
  }
}

function requireCallbackOrigin(url: string, origin: string | null): void {
  if (origin === null || new URL(url).origin === origin) return;
  throw new Refusal("BAD_REQUEST", "The request's body is not valid.", {
    errors: [{ path: "callback.url", message: "is not at the origin that this agent calls back to" }],
  });
}

async function healthOf(settings: RouterSettings, engine: TransferEngine): Promise<AgentHealth> {
  const space = await withinDeadline(readSpace(settings.tree), settings.fileSystemTimeoutMs).catch(() => null);
  return {
    status: space === null ? "degraded" : "ok",
    mounted: space !== null,
    freeBytes: space?.freeBytes ?? null,
    totalBytes: space?.totalBytes ?? null,
    floorBytes: settings.tree.minFreeBytes,
    ...engine.counts(),
    uptimeSeconds: Math.floor(process.uptime()),
  };
}

async function readSpace(tree: TreeSettings): Promise<Space> {
  await using root = await openTree(tree);
  return await spaceOf(root);
}
