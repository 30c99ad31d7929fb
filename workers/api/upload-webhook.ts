/** The upload webhook: a signed notice that an original is in Wasabi, or at a URL that it can be fetched from. */
import { assetDoor } from "../../durable-objects/asset-door.ts";
import { webhookDifferences } from "../../durable-objects/feed-door.ts";
import { UploadAccepted, UploadWebhook } from "../../schemas/api.ts";
import type { Asset } from "../../schemas/asset.ts";
import type { UploadDeclaration } from "../../schemas/event.ts";
import { parseOriginalKey } from "../../schemas/key.ts";
import { isOwnAddress } from "../own-address.ts";
import { Refusal } from "../problem.ts";
import { reply, route } from "./route.ts";
import { scopeFault, speaksFor } from "./upload-scope.ts";

export const uploadWebhook = route({
  method: "POST",
  path: "/v1/webhooks/upload",
  summary: "Tell that an original has been uploaded. The same again changes nothing and answers 200.",
  access: { by: "signature", keysOf: (config) => config.uploadKeys },
  body: UploadWebhook,
  answers: { 202: UploadAccepted, 200: UploadAccepted },
  async handle({ env, config, caller }, { body }) {
    const upload = body.data;
    const key = config.uploadKeys.find(({ kid }) => kid === caller.kid);
    if (key === undefined) throw new Error("a key that has signed is not known");
    const beyond = scopeFault(key, upload);
    if (beyond !== null) {
      throw new Refusal("FORBIDDEN", "The key that signed this may not say it.", { errors: [beyond] });
    }
    if (upload.source.kind === "url" && isOwnAddress(new URL(upload.source.url), config)) {
      throw new Refusal("BAD_REQUEST", "The request's body is not valid.", {
        errors: [{ path: "data.source.url", message: "must not lead back to this API" }],
      });
    }
    const door = assetDoor(env.ASSET, upload.fileId);
    const fault = keyFault(upload);
    // A known file under another name has a key that looks foreign: its sender is told which field differs.
    if (fault !== null && !isRenamed(await door.view(), upload)) {
      throw new Refusal("BAD_REQUEST", "The request's body is not valid.", {
        errors: [{ path: "data.source.key", message: fault }],
      });
    }
    const id = `${key.kid}:${caller.webhookId}`;
    const differing = await webhookDifferences(env.FEED, id, upload);
    if (differing.length > 0) {
      const errors = differing.map((path) => ({ path, message: "differs from what this webhook-id said first" }));
      throw new Refusal("CONFLICT", "This webhook-id has been used for other data.", { errors });
    }
    const by = `webhook:${id}`;
    const result = await door.apply({ key: by, by, event: { type: "UploadNoticed", upload } });
    // What another client's file is called is no business of this key's holder.
    if (result.asset !== null && !speaksFor(key, result.asset.clientName)) {
      throw new Refusal("CONFLICT", "This fileId is taken.", {
        errors: [{ path: "data.fileId", message: "is taken" }],
      });
    }
    if (result.outcome === "conflict") {
      throw new Refusal("CONFLICT", "This fileId is known with other data.", { errors: result.errors });
    }
    if (result.outcome === "rejected" || result.asset === null) {
      throw new Refusal("CONFLICT", result.reason ?? "This fileId cannot take an upload now.");
    }
    const { fileId, state, links } = result.asset;
    const accepted = { fileId, state, links };
    return result.created ? reply(202, accepted) : reply(200, accepted);
  },
});

/** Such a notice is a conflict, whatever its key: what is compared here never changes in an asset. */
function isRenamed(known: Asset | null, upload: UploadDeclaration): boolean {
  if (known === null) return false;
  return (["clientName", "projectName", "fileName", "sizeBytes"] as const).some((name) => known[name] !== upload[name]);
}

/** A notice may name any object of the bucket but one that is ours to write, or another file's original. */
function keyFault(upload: UploadDeclaration): string | null {
  if (upload.source.kind !== "wasabi") return null;
  const { key } = upload.source;
  if (key.startsWith("/") || key.split("/").some((part) => part === "." || part === "..")) {
    return "must be an object's key, without a leading / and without . or .. between slashes";
  }
  if (key.startsWith("proxies/")) return "must not lie under proxies/, where renditions are kept";
  const owner = parseOriginalKey(key);
  if (owner === null || (owner.fileId === upload.fileId && owner.clientName === upload.clientName)) return null;
  return "is another file's original";
}
