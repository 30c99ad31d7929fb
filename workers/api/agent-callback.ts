/** The LucidLink agent's signed callback: how a transfer that it was asked for ended. Turned into a fact for the object. */
import { z } from "zod";
import { assetDoor } from "../../durable-objects/asset-door.ts";
import { AgentCallback } from "../../schemas/agent-protocol.ts";
import type { Asset } from "../../schemas/asset.ts";
import type { AssetEvent } from "../../schemas/event.ts";
import { isRetryable } from "../../schemas/failure-policy.ts";
import { reply, route } from "./route.ts";

const Outcome = z.object({ outcome: z.enum(["applied", "duplicate", "ignored", "rejected", "conflict", "unknown"]) });

export const agentCallback = route({
  method: "POST",
  path: "/v1/agent/callback",
  summary: "The LucidLink agent tells how a transfer ended. The same callback again changes nothing.",
  access: { by: "signature", keysOf: (config) => [{ kid: "lucid-agent", secret: config.lucidAgentCallbackSecret }] },
  body: AgentCallback,
  answers: { 200: Outcome },
  async handle({ env, caller }, { body }) {
    const door = assetDoor(env.ASSET, body.data.fileId);
    const asset = await door.view();
    if (asset === null) return reply(200, { outcome: "unknown" as const });
    const event = factOf(body, asset);
    if (event === null) return reply(200, { outcome: "ignored" as const });
    const key = `agent:${caller.webhookId}`;
    const { outcome } = await door.apply({ key, by: "lucid-agent", event });
    return reply(200, { outcome });
  },
});

/** @returns null for a transfer of bytes that the asset no longer has */
export function factOf({ type, data }: AgentCallback, asset: Asset): AssetEvent | null {
  const { quality, op } = data;
  const step = { kind: "copy", tier: "lucidlink", quality } as const;
  const message = (data.problem?.message ?? "The agent gave no reason.").slice(0, 2_000);
  switch (type) {
    case "transfer.durable": {
      const rendition = asset.renditions.find((each) => each.quality === quality);
      // The agent verified the composite; the parts behind it are ours.
      if (rendition?.sha256?.composite !== data.sha256) return null;
      const { jobId, sha256 } = rendition;
      const { sizeBytes } = data;
      return { type: "CopyPlaced", tier: "lucidlink", quality, jobId, op, sizeBytes, etag: null, sha256 };
    }
    case "transfer.source-expired":
      return { type: "StepDeferred", step, op, code: "SOURCE_EXPIRED", message, retryAfterMs: 0 };
    case "transfer.failed": {
      const code = data.problem?.code ?? "LUCIDLINK_UNAVAILABLE";
      return isRetryable(code)
        ? { type: "StepDeferred", step, op, code, message, retryAfterMs: null }
        : { type: "StepFailed", step, op, code, message };
    }
  }
}
