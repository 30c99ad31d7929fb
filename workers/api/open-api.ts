/** openapi.json, made from the route table and the zod schemas that the routes check with. */
import { z } from "zod";
import packageFile from "../../package.json" with { type: "json" };
import {
  AssetPage,
  AssetQuery,
  HistoryPage,
  PlaybackGrant,
  PlaybackRequest,
  ProblemBody,
  StatusFrame,
  Ticket,
  UploadAccepted,
  UploadWebhook,
} from "../../schemas/api.ts";
import { Asset, AssetSummary, HistoryEntry, Problem, Rendition } from "../../schemas/asset.ts";
import { AppEventType } from "../../schemas/command.ts";
import { DeadLetterBatch, DeadLetterBatchAnswer, DeadLetterPage, DeadLetterView } from "../../schemas/dead-letter.ts";
import { Evidence, EvidencePage } from "../../schemas/evidence.ts";
import { FailureCode } from "../../schemas/failure.ts";
import { Quality } from "../../schemas/ladder.ts";
import { OriginalAccessGrant, OriginalAccessRequest } from "../../schemas/original-access.ts";
import { PartGrant, PartRequest, SourceGrant, SourceRequest } from "../../schemas/runner-protocol.ts";
import type { Access, RouteFacts } from "./route.ts";

/** What the application is sent, one call a phase. */
const AppWebhook = z.object({ type: AppEventType, timestamp: z.iso.datetime(), data: z.object({ asset: Asset }) });

const named = z.registry<{ id: string }>();
const namedSchemas = {
  AppWebhook,
  Asset,
  AssetPage,
  AssetQuery,
  AssetSummary,
  DeadLetter: DeadLetterView,
  DeadLetterBatch,
  DeadLetterBatchAnswer,
  DeadLetterPage,
  Evidence,
  EvidencePage,
  FailureCode,
  HistoryEntry,
  HistoryPage,
  OriginalAccessGrant,
  OriginalAccessRequest,
  PartGrant,
  PartRequest,
  PlaybackGrant,
  PlaybackRequest,
  Problem,
  ProblemBody,
  Quality,
  Rendition,
  SourceGrant,
  SourceRequest,
  StatusFrame,
  Ticket,
  UploadAccepted,
  UploadWebhook,
};
for (const [id, schema] of Object.entries(namedSchemas)) named.add(schema, { id });

type Json = Record<string, unknown>;
const toRef = (id: string) => `#/components/schemas/${id}`;

/** Schemas as clients write them: a file name is a string before it is normalised. */
function inline(schema: z.ZodType): Json {
  const id = named.get(schema)?.id;
  if (id !== undefined) return { $ref: toRef(id) };
  const { $schema: _, ...json } = z.toJSONSchema(schema, { io: "input", unrepresentable: "any" });
  return json;
}

function components(): Json {
  const { schemas } = z.toJSONSchema(named, { io: "input", unrepresentable: "any", uri: toRef });
  return Object.fromEntries(
    Object.entries(schemas).map(([id, { $schema: _schema, $id: _id, ...schema }]) => [id, schema as Json]),
  );
}

function parameters(facts: RouteFacts): Json[] {
  const of = (shape: z.ZodObject, where: "path" | "query") =>
    Object.entries(shape.shape).map(([name, schema]) => ({
      name,
      in: where,
      required: where === "path" || !(schema as z.ZodType).safeParse(undefined).success,
      schema: inline(schema as z.ZodType),
    }));
  const ticket = { name: "ticket", in: "query", required: false, schema: { type: "string" } };
  return [...of(facts.params, "path"), ...of(facts.query, "query"), ...(facts.socket ? [ticket] : [])];
}

function security(access: Access): Json[] {
  switch (access.by) {
    case "anyone":
      return [];
    case "token":
      return [{ bearer: [] }];
    case "signature":
      return [{ standardWebhook: [] }];
  }
}

function operation(facts: RouteFacts): Json {
  const roles = facts.access.by === "token" ? `Roles: ${facts.access.roles.join(", ")}.` : undefined;
  const answers = Object.entries(facts.answers).map(([status, schema]) => [
    status,
    status === "101"
      ? { description: "Switches to WebSocket; frames as in `x-frame`.", "x-frame": inline(schema) }
      : { description: facts.summary, content: { "application/json": { schema: inline(schema) } } },
  ]);
  return {
    summary: facts.summary,
    ...(roles === undefined ? {} : { description: roles }),
    security: security(facts.access),
    parameters: parameters(facts),
    ...(facts.body === null
      ? {}
      : {
          requestBody: {
            required: !facts.body.safeParse({}).success,
            content: { "application/json": { schema: inline(facts.body) } },
          },
        }),
    responses: {
      ...Object.fromEntries(answers),
      default: {
        description: "A problem.",
        content: { "application/problem+json": { schema: inline(ProblemBody) } },
      },
    },
  };
}

const webhooks: Json = {
  assetPhase: {
    post: {
      summary:
        "Sent to APP_WEBHOOK_URL once per phase. The same webhook-id may come again; order by data.asset.revision.",
      security: [{ standardWebhook: [] }],
      requestBody: { required: true, content: { "application/json": { schema: inline(AppWebhook) } } },
      responses: { "2XX": { description: "Taken. Any other answer, a redirect too, and it is sent again." } },
    },
  },
};

export function openApiDocument(routes: readonly RouteFacts[], publicUrl: string, extraPaths: Json): Json {
  const paths: Record<string, Json> = {};
  for (const facts of routes) {
    paths[facts.path] = { ...paths[facts.path], [facts.method.toLowerCase()]: operation(facts) };
  }
  return {
    openapi: "3.1.0",
    info: { title: "Motion Mavericks Fast", version: packageFile.version },
    servers: [{ url: publicUrl }],
    paths: { ...paths, ...extraPaths },
    webhooks,
    components: {
      schemas: components(),
      securitySchemes: {
        bearer: { type: "http", scheme: "bearer", bearerFormat: "JWT" },
        standardWebhook: {
          type: "apiKey",
          in: "header",
          name: "webhook-signature",
          description:
            "Standard Webhooks: webhook-id, webhook-timestamp and webhook-signature; webhook-key-id may name the key.",
        },
      },
    },
  };
}
