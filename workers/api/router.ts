/** The API's one entry: finds the route, and turns whatever it throws into problem+json. Browsers of any origin may
 * call it, since nothing here is granted by a cookie. */
import { type IRequest, Router } from "itty-router";
import { problemResponse, Refusal, requestFacts } from "../problem.ts";
import { type Env, readConfig } from "../stores/config.ts";
import type { Visit } from "./route.ts";
import { routes } from "./route-table.ts";

const router = Router<IRequest, [Omit<Visit, "params">], Response>();

const methodsOf = new Map<string, string[]>();
for (const route of routes) {
  const path = route.path.replace(/\{(\w+)\}/g, ":$1");
  const method = route.method.toLowerCase() as "get" | "post" | "put" | "delete";
  router[method](path, ({ params }, visit) => route.answer({ ...visit, params }));
  const readable = route.method === "GET" && !route.socket;
  if (readable) router.head(path, ({ params }, visit) => route.answer({ ...visit, params }));
  methodsOf.set(path, [...(methodsOf.get(path) ?? []), route.method, ...(readable ? ["HEAD"] : [])]);
}
for (const [path, methods] of methodsOf) {
  const allow = [...methods, "OPTIONS"].join(", ");
  router.options(path, () => new Response(null, { status: 204, headers: { allow, ...preflight(methods) } }));
  router.all(path, () => {
    throw new Refusal("METHOD_NOT_ALLOWED", `This address answers ${allow}.`, { headers: { allow } });
  });
}
router.all("*", () => {
  throw new Refusal("NOT_FOUND", "There is no such address. See /openapi.json.");
});

function preflight(methods: readonly string[]): Record<string, string> {
  return {
    "access-control-allow-methods": methods.join(", "),
    "access-control-allow-headers": "authorization, content-type",
    "access-control-max-age": "86400",
  };
}

export async function handleApi(
  request: Request,
  env: Env,
  ctx: Pick<ExecutionContext, "waitUntil">,
): Promise<Response> {
  const facts = requestFacts(request);
  let response: Response;
  try {
    const config = readConfig(env);
    response = await router.fetch(request, {
      request,
      env,
      config,
      ctx,
      nowMs: Date.now(),
      requestId: facts.requestId,
    });
  } catch (thrown) {
    response = problemResponse(thrown, facts);
  }
  // An upgrade's headers are its object's, and may not be changed.
  if (response.webSocket) return response;
  const answer = request.method === "HEAD" ? new Response(null, response) : response;
  answer.headers.set("access-control-allow-origin", "*");
  answer.headers.set("access-control-expose-headers", "x-request-id, retry-after");
  answer.headers.set("x-request-id", facts.requestId);
  return answer;
}
