// Receives the calls of every phase. In the environment: APP_WEBHOOK_SECRET, PORT.
import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";

const secret = Buffer.from(process.env.APP_WEBHOOK_SECRET.slice("whsec_".length), "base64");
// Both belong into your database, not into memory.
const seen = new Set(); // webhook-ids
const newest = new Map(); // fileId → revision

function isGenuine(headers, body) {
  const { "webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": signatures = "" } = headers;
  if (!(Math.abs(Date.now() / 1000 - Number(timestamp)) < 300)) return false;
  const expected = Buffer.from(
    `v1,${createHmac("sha256", secret).update(`${id}.${timestamp}.`).update(body).digest("base64")}`,
  );
  return signatures.split(" ").some((given) => {
    const candidate = Buffer.from(given);
    return candidate.length === expected.length && timingSafeEqual(candidate, expected);
  });
}

createServer(async (request, response) => {
  const body = Buffer.concat(await Array.fromAsync(request)); // the raw bytes: parsed and written again they differ
  if (!isGenuine(request.headers, body)) return response.writeHead(401).end();
  const { type, data } = JSON.parse(body);
  const { fileId, revision, state } = data.asset;
  const id = request.headers["webhook-id"];
  // Calls may come twice and out of order; two phases that end at once share a revision.
  if (!seen.has(id) && revision >= (newest.get(fileId) ?? 0)) {
    seen.add(id);
    newest.set(fileId, revision);
    console.log(type, fileId, revision, state);
  }
  response.writeHead(204).end();
}).listen(Number(process.env.PORT), "127.0.0.1");
