/** The examples of docs/: those of api.md are printed there word for word, and each runs here. */
import { type ChildProcess, execFile, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { jwtVerify } from "jose";
import { expect, onTestFinished, test } from "vitest";
import { signWebhook, verifyWebhook } from "../dev/standard-webhook.ts";
import { TokenClaims, UploadWebhook } from "../schemas/api.ts";

const run = promisify(execFile);
const fromRoot = (path: string) => fileURLToPath(new URL(`../${path}`, import.meta.url));
const example = (name: string) => fromRoot(`docs/examples/${name}`);
const secret = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;
const jwtSecret = Buffer.alloc(32, 9);

test.each(["mint-token.mjs", "upload-webhook.mjs", "upload-webhook.sh", "watch-asset.mjs", "receive-webhook.mjs"])(
  "docs/api.md prints %s word for word",
  async (name) => {
    const [guide, source] = await Promise.all([
      readFile(fromRoot("docs/api.md"), "utf8"),
      readFile(example(name), "utf8"),
    ]);
    const [heading = "", ...code] = source.split("\n");
    expect(heading).toMatch(/^(\/\/|#) /);
    expect(guide).toContain(`\n${code.join("\n")}\`\`\``);
    expect(guide).toContain(`(examples/${name})`);
  },
);

test("a minted token carries the claims that the API asks for", async () => {
  const env = { ...process.env, JWT_KEYS: JSON.stringify({ "2026-11": jwtSecret.toString("base64url") }) };
  const { stdout, stderr } = await run(
    process.execPath,
    [example("mint-token.mjs"), "jane", "viewer", "12h", "acme", "globex"],
    { env },
  );
  const { payload, protectedHeader } = await jwtVerify(stdout.trim(), jwtSecret);
  expect(protectedHeader).toEqual({ alg: "HS256", kid: "2026-11" });
  expect(TokenClaims.parse(payload)).toMatchObject({ sub: "jane", role: "viewer", clients: ["acme", "globex"] });
  expect(payload.iat).toBeGreaterThan(0);
  expect(stderr.trim()).toBe(`jti ${payload.jti}`);
});

test("the secrets that are made for a deployment are ones that the worker takes", async () => {
  const keys = { WASABI_ACCESS_KEY_ID: "key", WASABI_SECRET_ACCESS_KEY: "secret", QUEUES_TOKEN: "queues" };
  const { stdout } = await run(process.execPath, [example("make-secrets.mjs")], { env: { ...process.env, ...keys } });
  const vars = {
    ENVIRONMENT: "production",
    PUBLIC_URL: "https://media.example.com",
    WASABI_ENDPOINT: "https://s3.example.com",
    WASABI_REGION: "eu-central-1",
    WASABI_BUCKET: "motion-mavericks",
    QUEUES_API_URL: "https://api.cloudflare.com/client/v4",
    CLOUDFLARE_ACCOUNT_ID: "account",
    TRANSCODE_QUEUE_ID: "queue",
    TRANSCODE_RUSH_QUEUE_ID: "rush-queue",
    LUCID_AGENT_URL: "",
    APP_WEBHOOK_URL: "",
    POLICY: "{}",
    CLOCK_OFFSET_MS: "0",
  };
  // Not a literal: the worker's sources have types of their own.
  const { parseConfig } = await import(fromRoot("workers/stores/config.ts"));
  expect(parseConfig({ ...vars, ...JSON.parse(stdout) })).toMatchObject({ wasabi: { accessKeyId: "key" } });
});

const upload = ["507f1f77bcf86cd799439011", "acme", "launch-film", "A001.mov", "1234567", "inbox/A001.mov"];

const lacks = (tool: string) => spawnSync(tool, ["--version"]).error !== undefined;

test.for([
  ["upload-webhook.mjs", process.execPath, upload],
  ["upload-webhook.sh", "bash", []],
] as const)("%s sends an upload webhook that is signed and well-formed", async ([name, program, args], { skip }) => {
  const lacking = program === "bash" ? ["bash", "curl", "openssl"].filter(lacks) : [];
  skip(lacking.length > 0, `no ${lacking.join(" and ")} here`);
  let refusal: string | null = "nothing came";
  let sent: unknown;
  const server = createServer(async (request, response) => {
    const body = Buffer.concat(await Array.fromAsync(request as AsyncIterable<Buffer>)).toString();
    refusal = verifyWebhook(secret, request.headers, new Date(), body);
    sent = { path: request.url, body: UploadWebhook.parse(JSON.parse(body)) };
    response.writeHead(202).end("taken");
  }).listen(0, "127.0.0.1");
  onTestFinished(() => void server.close());
  await once(server, "listening");
  const env = {
    ...process.env,
    API_URL: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    UPLOAD_WEBHOOK_SECRET: secret,
  };
  const { stdout } = await run(program, [example(name), ...args], { env });
  expect(stdout).toContain("taken");
  expect(refusal).toBeNull();
  expect(sent).toMatchObject({
    path: "/v1/webhooks/upload",
    body: { data: { fileId: upload[0], sizeBytes: 1234567 } },
  });
});

test("the receiver takes genuine calls, refuses forged ones, and heeds neither repeated nor older ones", async () => {
  const port = await freePort();
  const env = { ...process.env, APP_WEBHOOK_SECRET: secret, PORT: String(port) };
  const receiver = spawn(process.execPath, [example("receive-webhook.mjs")], {
    env,
    stdio: ["ignore", "pipe", "inherit"],
  });
  onTestFinished(() => void receiver.kill("SIGKILL"));
  const lines = linesOf(receiver);
  const call = (id: string, revision: number, key = secret) => {
    const asset = { fileId: "507f1f77bcf86cd799439011", revision, state: "archived" };
    const body = JSON.stringify({ type: "asset.archived", timestamp: new Date().toISOString(), data: { asset } });
    const headers = { ...signWebhook(key, id, new Date(), body) };
    return fetch(`http://127.0.0.1:${port}/`, { method: "POST", headers, body });
  };
  await answers(() => fetch(`http://127.0.0.1:${port}/`));
  expect((await call("first", 5)).status).toBe(204);
  expect((await call("forged", 6, `whsec_${Buffer.alloc(32, 8).toString("base64")}`)).status).toBe(401);
  expect((await call("older", 4)).status).toBe(204);
  expect((await call("first", 5)).status).toBe(204);
  expect((await call("second of one decision", 5)).status).toBe(204);
  expect((await call("newer", 7)).status).toBe(204);
  receiver.kill();
  await once(receiver, "exit");
  expect(lines.join("").trim().split("\n")).toEqual([
    "asset.archived 507f1f77bcf86cd799439011 5 archived",
    "asset.archived 507f1f77bcf86cd799439011 5 archived",
    "asset.archived 507f1f77bcf86cd799439011 7 archived",
  ]);
});

function linesOf(child: ChildProcess): string[] {
  const chunks: string[] = [];
  child.stdout?.on("data", (chunk: Buffer) => chunks.push(chunk.toString()));
  return chunks;
}

async function freePort(): Promise<number> {
  const server = createTcpServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

async function answers(ask: () => Promise<Response>): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    if (await ask().then(Boolean, () => false)) return;
    await sleep(50);
  }
  throw new Error("the receiver does not listen");
}
