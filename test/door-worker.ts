/** Calls the worker's doors as clients do: tokens, signed webhooks, and assets brought to a state by facts alone. */
import { createExecutionContext, runInDurableObject, env as testEnv, waitOnExecutionContext } from "cloudflare:test";
import { SignJWT } from "jose";
import { vi } from "vitest";
import { type AssetDoor, assetDoor } from "../durable-objects/asset-door.ts";
import type { AssetObject } from "../durable-objects/asset-object.ts";
import { prove } from "../durable-objects/command-proof.ts";
import type { ProblemBody, Role } from "../schemas/api.ts";
import { loadAssetState, type StoredAsset } from "../schemas/asset-state.ts";
import type { AssetEvent, UploadDeclaration } from "../schemas/event.ts";
import { edgeKey, originalKey, proxyKey } from "../schemas/key.ts";
import type { Quality } from "../schemas/ladder.ts";
import { handleApi } from "../workers/api/router.ts";
import { handleDelivery, isDeliveryPath } from "../workers/delivery/proxy.ts";
import { type Env, parseConfig } from "../workers/stores/config.ts";
import { bytesOfBase64 } from "../workers/stores/secret-text.ts";
import { testBindings } from "./bindings.ts";
import { probe } from "./simulation/asset-sample.ts";

export const env = testEnv as unknown as Env;
export const config = parseConfig(testBindings);
export const origin = "https://media.test";
const uploadSecret = bytesOfBase64(testBindings.UPLOAD_WEBHOOK_SECRET.slice("whsec_".length));

export async function token(
  role: Role,
  clients: string[] = ["*"],
  over: {
    kid?: string;
    secret?: Uint8Array;
    expiresInSeconds?: number;
    alg?: string;
    sub?: string;
    jti?: string;
    iat?: number;
  } = {},
): Promise<string> {
  const [key] = config.jwtKeys;
  const { jti, iat } = over;
  return new SignJWT({ role, clients, ...(jti !== undefined && { jti }), ...(iat !== undefined && { iat }) })
    .setProtectedHeader({ alg: over.alg ?? "HS256", kid: over.kid ?? key.kid })
    .setSubject(over.sub ?? `test-${role}`)
    .setExpirationTime(Math.floor(Date.now() / 1000) + (over.expiresInSeconds ?? 600))
    .sign(over.secret ?? key.secret);
}

/** Waits for what the worker does after its response, too, unless the response is still to be read. */
export async function call(
  path: string,
  init: RequestInit & { token?: string; json?: unknown; settle?: boolean; env?: Env } = {},
): Promise<Response> {
  const headers = new Headers(init.headers);
  if (init.token !== undefined) headers.set("authorization", `Bearer ${init.token}`);
  if (init.json !== undefined) headers.set("content-type", "application/json");
  const body = init.json === undefined ? (init.body ?? null) : JSON.stringify(init.json);
  const request = new Request(new URL(path, origin), { method: init.method ?? "GET", headers, body });
  const ctx = createExecutionContext();
  const handle = isDeliveryPath(request) ? handleDelivery : handleApi;
  const response = await handle(request, init.env ?? env, ctx);
  if (init.settle !== false) await waitOnExecutionContext(ctx);
  return response;
}

export async function problemOf(response: Response): Promise<ProblemBody> {
  if (response.headers.get("content-type") !== "application/problem+json") {
    throw new Error(`not a problem: ${response.status} ${await response.text()}`);
  }
  return (await response.json()) as ProblemBody;
}

const base64 = (bytes: ArrayBuffer) => btoa(String.fromCharCode(...new Uint8Array(bytes)));

export async function signedHeaders(
  body: string,
  more: { id?: string; secret?: Uint8Array<ArrayBuffer>; timestamp?: number } = {},
): Promise<Record<string, string>> {
  const id = more.id ?? `msg_${crypto.randomUUID()}`;
  const timestamp = String(more.timestamp ?? Math.floor(Date.now() / 1000));
  const secret = more.secret ?? uploadSecret;
  const key = await crypto.subtle.importKey("raw", secret, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  const signed = await crypto.subtle.sign("HMAC", key, new TextEncoder().encode(`${id}.${timestamp}.${body}`));
  return {
    "content-type": "application/json",
    "webhook-id": id,
    "webhook-timestamp": timestamp,
    "webhook-signature": `v1,${base64(signed)}`,
  };
}

let count = 0;

export function newUpload(over: Partial<UploadDeclaration> = {}): UploadDeclaration {
  count += 1;
  const fileId = over.fileId ?? `doors-${crypto.randomUUID().slice(0, 8)}-${count}`;
  const file = { fileId, clientName: "acme", projectName: "spring", fileName: "Señal “A” 1.mov", ...over };
  return { ...file, sizeBytes: 100_000, source: { kind: "wasabi", key: originalKey(file) }, ...over };
}

export async function postUpload(upload: UploadDeclaration, id?: string): Promise<Response> {
  await silenceQueues(upload.fileId);
  const body = JSON.stringify({ type: "upload.completed", timestamp: new Date().toISOString(), data: upload });
  const headers = await signedHeaders(body, id === undefined ? {} : { id });
  return call("/v1/webhooks/upload", { method: "POST", headers, body });
}

const stubOf = (fileId: string) => env.ASSET.getByName(fileId) as unknown as DurableObjectStub<AssetObject>;

export interface Sent {
  /** As `r2`. */
  queue: string;
  body: { type: string; fileId: string };
}

/** What the asset's object sends goes to the test, and to no queue. */
export function takeQueues(fileId: string, take: (sent: Sent) => void | Promise<void>): Promise<void> {
  return runInDurableObject(stubOf(fileId), (instance) => {
    const bindings = (instance as unknown as { env: Record<string, unknown> }).env;
    for (const name of Object.keys(bindings).filter((each) => each.endsWith("_QUEUE"))) {
      const queue = name
        .replace(/_QUEUE$/, "")
        .replaceAll("_", "-")
        .toLowerCase();
      const send = async (body: Sent["body"]) => take({ queue, body });
      Object.defineProperty(bindings, name, { value: { send }, configurable: true });
    }
  });
}

/** No consumer answers meanwhile: an asset moves by the facts that a test tells, and by no others. */
export const silenceQueues = (fileId: string): Promise<void> => takeQueues(fileId, () => undefined);

/** A message as the asset's own object sends it, which has sent one before. */
export async function proven<C extends { fileId: string }>(command: C): Promise<C & { mac: string }> {
  const secretOf = () =>
    runInDurableObject(stubOf(command.fileId), (_instance, state) =>
      String(state.storage.sql.exec("SELECT hex FROM command_secret").one().hex),
    );
  return prove(command, await vi.waitFor(secretOf));
}

export function storedState(fileId: string): Promise<StoredAsset> {
  return runInDurableObject(stubOf(fileId), (_instance, state) =>
    loadAssetState(String([...state.storage.sql.exec("SELECT document FROM asset")][0]?.document)),
  );
}

export interface Seeded {
  upload: UploadDeclaration;
  door: AssetDoor;
  jobId: string;
  bytes: Uint8Array<ArrayBuffer>;
  etag: string;
  wasabiKey: string;
  edgeKey: string;
}

export const quality: Quality = "360p";

async function tell(door: AssetDoor, event: AssetEvent): Promise<void> {
  const result = await door.apply({ key: crypto.randomUUID(), by: "test", event });
  if (result.outcome !== "applied") throw new Error(`${event.type}: ${result.outcome} ${result.reason}`);
}

/** An asset whose original is archived and whose job is leased. */
export async function seedLeased(over: Partial<UploadDeclaration> = {}) {
  const upload = newUpload(over);
  const { fileId, sizeBytes } = upload;
  const door = assetDoor(env.ASSET, fileId);
  await silenceQueues(fileId);
  await tell(door, { type: "UploadNoticed", upload });
  const archived = { key: originalKey(upload), sizeBytes, etag: "0".repeat(32), sha256: null };
  await tell(door, { type: "OriginalArchived", op: (await storedState(fileId)).job.archive.op, ...archived });
  const { generation, jobId } = (await storedState(fileId)).job;
  await tell(door, { type: "TranscodeClaimed", generation, runnerId: "test-runner", encoder: "libx264" });
  const lease = (await storedState(fileId)).job.lease?.token;
  if (lease === undefined || jobId === null) throw new Error("the claim gave no lease");
  return { upload, door, jobId, lease };
}

/** An asset with one 360p rendition, archived in Wasabi and, when `placed`, on R2. */
export async function seedProxy(
  options: { placed: boolean; proxyBytes?: number } & Partial<UploadDeclaration>,
): Promise<Seeded> {
  const { placed, proxyBytes = 1000, ...over } = options;
  const { upload, door, jobId, lease } = await seedLeased(over);
  const { fileId } = upload;
  await tell(door, { type: "SourceProbed", lease, source: probe(360) });
  const wasabiKey = proxyKey(upload, quality);
  await tell(door, {
    type: "UploadOpened",
    lease,
    quality,
    key: wasabiKey,
    uploadId: "upload-1",
    partSizeBytes: 8 << 20,
  });
  const bytes = Uint8Array.from({ length: proxyBytes }, (_, i) => (i * 7 + count) % 256);
  const sizeBytes = bytes.length;
  const digest = "a".repeat(64);
  const sha256 = { partSizeBytes: 8 << 20, parts: 1, composite: digest };
  const measured = { width: 640, height: 360, frames: 500, durationSeconds: 20, sizeBytes, sha256 };
  await tell(door, { type: "RenditionUploaded", lease, quality, ...measured });
  const [rendition] = (await storedState(fileId)).renditions;
  if (rendition === undefined) throw new Error("no rendition was planned");
  const etag = `${fileId}-etag`;
  await tell(door, { type: "RenditionArchived", quality, jobId, op: rendition.step.op, etag, sizeBytes });
  const key = edgeKey(jobId, quality);
  if (placed) {
    await env.PROXIES.put(key, bytes);
    const copy = (await storedState(fileId)).renditions[0]?.copies.find(({ tier }) => tier === "r2");
    const op = copy?.step.op ?? 0;
    await tell(door, { type: "CopyPlaced", tier: "r2", quality, jobId, op, sizeBytes, etag: "r2-etag", sha256 });
  }
  return { upload, door, jobId, bytes, etag, wasabiKey, edgeKey: key };
}
