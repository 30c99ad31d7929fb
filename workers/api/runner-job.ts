/** The runner's doors: its socket to the job, and the presigned URLs that stand in for storage keys it never holds. */
import { z } from "zod";
import { assetDoor, type PartAnswer } from "../../durable-objects/asset-door.ts";
import type { TokenClaims } from "../../schemas/api.ts";
import { FileId, JobId } from "../../schemas/id.ts";
import type { ProxyKey } from "../../schemas/key.ts";
import {
  ObjectFrame,
  PartGrant,
  PartRequest,
  type RunnerRefusal,
  SourceGrant,
  SourceRequest,
} from "../../schemas/runner-protocol.ts";
import { Refusal, type RefusalCode } from "../problem.ts";
import type { Env } from "../stores/config.ts";
import { wasabiStore } from "../stores/wasabi.ts";
import { sourceUrlSeconds } from "../stores/wasabi-presign.ts";
import { assetFor } from "./asset-scope.ts";
import { expiryAt } from "./expiry.ts";
import { reply, route } from "./route.ts";
import { upgradeRequest } from "./status-socket.ts";

const PART_URL_SECONDS = 60 * 60;

const access = { by: "token", roles: ["runner"] } as const;
const params = z.strictObject({ jobId: JobId });
const query = z.strictObject({ asset: FileId });

const codeOf: Readonly<Record<RunnerRefusal, RefusalCode>> = {
  stale: "LEASE_LOST",
  taken: "LEASE_LOST",
  finished: "CONFLICT",
  failed: "CONFLICT",
  cancelled: "CONFLICT",
  deleted: "CONFLICT",
  unknown: "NOT_FOUND",
  "not-ready": "NOT_READY",
};

function refused(answer: { reason: RunnerRefusal; message: string }): Refusal {
  return new Refusal(codeOf[answer.reason], answer.message);
}

/** A runner may be kept to some clients; one that serves all needs no look at the asset. */
async function checkScope(env: Env, claims: TokenClaims, fileId: string): Promise<void> {
  if (!claims.clients.includes("*")) await assetFor(env, claims, fileId);
}

export const runnerSocket = route({
  method: "GET",
  path: "/v1/runner/jobs/{jobId}",
  summary: "WebSocket: claim the job, keep its lease, report its progress and its renditions.",
  access,
  socket: true,
  params,
  query,
  answers: { 101: ObjectFrame },
  async handle({ env, caller }, input) {
    await checkScope(env, caller, input.query.asset);
    const url = new URL(`https://object/runner/${input.params.jobId}`);
    return assetDoor(env.ASSET, input.query.asset).fetch(upgradeRequest(url, caller));
  },
});

export const runnerParts = route({
  method: "POST",
  path: "/v1/runner/jobs/{jobId}/parts",
  summary: "Presigned URLs for the next parts of a rendition.",
  access,
  params,
  query,
  body: PartRequest,
  answers: { 200: PartGrant },
  async handle({ env, config, caller, nowMs }, { params: { jobId }, query: { asset }, body }) {
    await checkScope(env, caller, asset);
    const door = assetDoor(env.ASSET, asset);
    const wasabi = wasabiStore(config.wasabi);
    const { key, uploadId } = await openUpload();
    const parts = await Promise.all(
      body.numbers.map(async (n) => ({
        n,
        url: await wasabi.presignPart(key, uploadId, n, PART_URL_SECONDS),
      })),
    );
    return reply(200, { parts, expiresAt: expiryAt(nowMs, PART_URL_SECONDS) });

    async function openUpload(): Promise<{ key: ProxyKey; uploadId: string }> {
      const opened = settled(await door.openPart(jobId, body.lease, body.quality));
      if (opened.uploadId !== null) return { key: opened.key, uploadId: opened.uploadId };
      const uploadId = await wasabi.createMultipart(opened.key);
      const { quality, partSizeBytes, lease } = body;
      const recorded = await door.recordUpload(jobId, lease, quality, { uploadId, partSizeBytes });
      // Another request won the race, or the lease went meanwhile: ours holds no part yet and is billed until it goes.
      if (!recorded.ok || recorded.uploadId !== uploadId) {
        await wasabi.abortMultipart(opened.key, uploadId);
      }
      const known = settled(recorded);
      if (known.uploadId === null) throw new Error("an upload that was recorded is not known");
      return { key: known.key, uploadId: known.uploadId };
    }
  },
});

function settled(answer: PartAnswer): Extract<PartAnswer, { ok: true }> {
  if (!answer.ok) throw refused(answer);
  return answer;
}

export const runnerSource = route({
  method: "POST",
  path: "/v1/runner/jobs/{jobId}/source",
  summary: "A fresh presigned URL of the original that the leased job reads.",
  access,
  params,
  query,
  body: SourceRequest,
  answers: { 200: SourceGrant },
  async handle({ env, config, caller, nowMs }, { params: { jobId }, query: { asset }, body }) {
    await checkScope(env, caller, asset);
    const original = await assetDoor(env.ASSET, asset).leasedOriginal(jobId, body.lease);
    if (!original.ok) throw refused(original);
    const { key, sizeBytes, etag } = original;
    const url = await wasabiStore(config.wasabi).presignGet(key, sourceUrlSeconds);
    return reply(200, { url, expiresAt: expiryAt(nowMs, sourceUrlSeconds), sizeBytes, etag });
  },
});
