/** Every route, walked: nobody enters without a token, nobody with the wrong one, and the description tells them all. */
import { expect, test } from "vitest";
import { Role } from "../../schemas/api.ts";
import { call, config, problemOf, token } from "../../test/door-worker.ts";
import { routes } from "./route-table.ts";

const samples: Record<string, string> = {
  fileId: "507f1f77bcf86cd799439011",
  jobId: "0123456789abcdef01234567",
  code: "NOT_FOUND",
};
const walked = routes.map((route) => ({
  name: `${route.method} ${route.path}`,
  route,
  path: route.path.replace(/\{(\w+)\}/g, (_, name: string) => samples[name] ?? name),
}));
const byToken = walked.filter(({ route }) => route.access.by === "token");
const signed = walked.filter(({ route }) => route.access.by === "signature");
const openNames = walked.filter(({ route }) => route.access.by === "anyone").map(({ name }) => name);

test("only these doors are open", () => {
  expect(openNames).toEqual(["GET /healthz", "GET /problems/{code}", "GET /openapi.json"]);
});

test.each(byToken)("$name without a token is 401", async ({ route, path }) => {
  const response = await call(path, { method: route.method });
  expect(response.status).toBe(401);
  expect(response.headers.get("www-authenticate")).toBe("Bearer");
  expect(await problemOf(response)).toMatchObject({ status: 401, code: "UNAUTHENTICATED" });
});

test.each(byToken)("$name with any role but its own is 403", async ({ route, path }) => {
  const allowed: readonly string[] = route.access.by === "token" ? route.access.roles : [];
  const others = Role.options.filter((role) => !allowed.includes(role));
  expect(others.length).toBeGreaterThan(0);
  for (const role of others) {
    const response = await call(path, { method: route.method, token: await token(role) });
    expect(response.status, role).toBe(403);
    expect(await problemOf(response)).toMatchObject({ code: "FORBIDDEN" });
  }
});

test.each(signed)("$name without a signature is 401", async ({ route, path }) => {
  const response = await call(path, { method: route.method, json: {} });
  expect(await problemOf(response)).toMatchObject({ status: 401, code: "BAD_SIGNATURE" });
});

test.each(walked.filter(({ route }) => route.socket))(
  "$name asked for without an upgrade is 426",
  async ({ route, path }) => {
    const role = route.access.by === "token" ? route.access.roles[0] : undefined;
    const response = await call(path, { token: await token(role ?? "admin") });
    expect(response.headers.get("upgrade")).toBe("websocket");
    expect(await problemOf(response)).toMatchObject({ status: 426, code: "UPGRADE_REQUIRED" });
  },
);

test.each([
  ["signed with another secret", { secret: new Uint8Array(32) }],
  ["of an unknown key", { kid: "nobody" }],
  ["that has expired", { expiresInSeconds: -1 }],
  ["of another algorithm", { alg: "HS512" }],
])("a token %s is 401", async (_name, over) => {
  const response = await call("/v1/assets", { token: await token("admin", ["*"], over) });
  expect(await problemOf(response)).toMatchObject({ status: 401, code: "UNAUTHENTICATED" });
});

test.each(["Bearer", "Bearer x.y", "Basic YTpi", "Bearer e30.e30."])(
  "Authorization: %s is 401",
  async (authorization) => {
    const response = await call("/v1/assets", { headers: { authorization } });
    expect(response.status).toBe(401);
  },
);

test.each([
  ["clients", "viewer", [], 'clients must name at least one client, or be ["*"] for all'],
  [
    "clients",
    "viewer",
    ["Acme Corp"],
    "clients[0] must be 1–63 characters of a–z 0–9 -, starting with a letter or digit",
  ],
  ["role", "director", ["acme"], `role must be one of ${Role.options.join(", ")}`],
])("a token with bad %s is 401 and told what is allowed: %s %j", async (_claim, role, clients, sentence) => {
  const response = await call("/v1/assets", { token: await token(role as Role, clients) });
  expect(await problemOf(response)).toMatchObject({
    status: 401,
    detail: `The token's claims are not valid: ${sentence}.`,
  });
});

test("an unknown address is 404, a wrong method 405 with what is allowed", async () => {
  expect(await problemOf(await call("/v1/nothing"))).toMatchObject({ status: 404, code: "NOT_FOUND" });
  const response = await call("/v1/assets", { method: "DELETE" });
  expect(response.headers.get("allow")).toBe("GET, HEAD, OPTIONS");
  expect(await problemOf(response)).toMatchObject({ status: 405, code: "METHOD_NOT_ALLOWED" });
});

test("every problem carries the request's id and points to its meaning", async () => {
  const response = await call("/v1/nothing");
  const problem = await problemOf(response);
  expect(response.headers.get("x-request-id")).toBe(problem.requestId);
  const page = await call(problem.type);
  expect(await page.json()).toMatchObject({ code: "NOT_FOUND", title: problem.title });
});

test("browsers of any origin may ask", async () => {
  const preflight = await call("/v1/assets", { method: "OPTIONS" });
  expect(preflight.status).toBe(204);
  expect(preflight.headers.get("access-control-allow-origin")).toBe("*");
  expect(preflight.headers.get("access-control-allow-headers")).toContain("authorization");
  expect((await call("/v1/assets")).headers.get("access-control-allow-origin")).toBe("*");
});

test("healthz touches the database and an object", async () => {
  const response = await call("/healthz");
  expect(response.status).toBe(200);
  expect(await response.json()).toMatchObject({ status: "ok", version: expect.stringMatching(/^\d+\.\d+\.\d+$/) });
  expect((await call("/healthz", { method: "HEAD" })).status).toBe(200);
});

interface OpenApi {
  paths: Record<string, Record<string, { responses: Record<string, unknown>; security: unknown[] }>>;
  components: { schemas: Record<string, unknown> };
  servers: { url: string }[];
}

test("openapi.json describes every route and names only schemas that it holds", async () => {
  const text = await (await call("/openapi.json")).text();
  const document = JSON.parse(text) as OpenApi;
  expect(document.servers).toEqual([{ url: config.publicUrl }]);
  for (const { route } of walked) {
    const operation = document.paths[route.path]?.[route.method.toLowerCase()];
    expect(Object.keys(operation?.responses ?? {}), route.path).toEqual(
      expect.arrayContaining([...Object.keys(route.answers), "default"]),
    );
  }
  expect(document.paths["/proxies/{jobId}/{quality}.mp4"]).toHaveProperty("head");
  const refs = [...text.matchAll(/"\$ref":"#\/components\/schemas\/([^"]+)"/g)].map(([, name]) => name);
  expect(refs.length).toBeGreaterThan(20);
  expect(refs.filter((name) => !Object.hasOwn(document.components.schemas, name ?? ""))).toEqual([]);
});
