/** Every route of the API, in the order in which openapi.json tells them. Delivery has a door of its own. */
import { z } from "zod";
import { alerts, prioritizeAsset, retryAsset } from "./admin.ts";
import { agentCallback } from "./agent-callback.ts";
import { assetEvidence, assetHistory, listAssets, oneAsset } from "./asset.ts";
import { assetWhy, cancelAsset, evictAsset, pinAsset, promoteAsset, unpinAsset } from "./asset-order.ts";
import { catalogueLag } from "./catalogue-lag.ts";
import {
  deadLetters,
  discardDeadLetter,
  discardDeadLetters,
  replayDeadLetter,
  replayDeadLetters,
} from "./dead-letter.ts";
import { deliveryPaths } from "./delivery-description.ts";
import { health } from "./health.ts";
import { capacity, deletionCost, egress, storage } from "./ledger.ts";
import { openApiDocument } from "./open-api.ts";
import { originalAccess } from "./original-access.ts";
import { playback } from "./playback.ts";
import { problemPage } from "./problem-page.ts";
import { pinProject, prewarmProject, projectRuns, unpinProject, wrapProject } from "./project-order.ts";
import { auditTrail, changeRetentionPolicy, retentionPolicy } from "./retention-policy.ts";
import { revokedTokens, revokeTokens } from "./revoked-token.ts";
import { jsonResponse, type Route, route } from "./route.ts";
import { runnerParts, runnerSocket, runnerSource } from "./runner-job.ts";
import { runnerAck, runnerPull, runnerRetry } from "./runner-message.ts";
import { selfTest } from "./self-test.ts";
import { assetStatus, feedStatus, issueTicket } from "./status-socket.ts";
import { uploadWebhook } from "./upload-webhook.ts";

export const routes: readonly Route[] = [
  uploadWebhook,
  listAssets,
  oneAsset,
  assetHistory,
  assetEvidence,
  assetWhy,
  assetStatus,
  feedStatus,
  issueTicket,
  playback,
  originalAccess,
  runnerPull,
  runnerAck,
  runnerRetry,
  runnerSocket,
  runnerParts,
  runnerSource,
  agentCallback,
  retryAsset,
  prioritizeAsset,
  cancelAsset,
  promoteAsset,
  evictAsset,
  pinAsset,
  unpinAsset,
  pinProject,
  unpinProject,
  wrapProject,
  prewarmProject,
  projectRuns,
  retentionPolicy,
  changeRetentionPolicy,
  auditTrail,
  storage,
  capacity,
  egress,
  deletionCost,
  deadLetters,
  replayDeadLetter,
  discardDeadLetter,
  replayDeadLetters,
  discardDeadLetters,
  alerts,
  catalogueLag,
  revokeTokens,
  revokedTokens,
  selfTest,
  health,
  problemPage,
  route({
    method: "GET",
    path: "/openapi.json",
    summary: "This description.",
    access: { by: "anyone" },
    answers: { 200: z.looseObject({ openapi: z.string() }) },
    async handle({ config, requestId }) {
      return jsonResponse(200, openApiDocument(routes, config.publicUrl, deliveryPaths), requestId);
    },
  }),
];
