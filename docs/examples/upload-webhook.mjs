// Tells that an original has been uploaded. In the environment: API_URL, UPLOAD_WEBHOOK_SECRET.
import { createHmac, randomUUID } from "node:crypto";

const [fileId, clientName, projectName, fileName, sizeBytes, key] = process.argv.slice(2);

const body = JSON.stringify({
  type: "upload.completed",
  timestamp: new Date().toISOString(),
  data: { fileId, clientName, projectName, fileName, sizeBytes: Number(sizeBytes), source: { kind: "wasabi", key } },
});
const id = `msg_${randomUUID()}`;
const timestamp = Math.floor(Date.now() / 1000);
const secret = Buffer.from(process.env.UPLOAD_WEBHOOK_SECRET.slice("whsec_".length), "base64");
const signature = createHmac("sha256", secret).update(`${id}.${timestamp}.${body}`).digest("base64");

const response = await fetch(`${process.env.API_URL}/v1/webhooks/upload`, {
  method: "POST",
  headers: {
    "content-type": "application/json",
    "webhook-id": id,
    "webhook-timestamp": String(timestamp),
    "webhook-signature": `v1,${signature}`,
  },
  body, // exactly the text that was signed
});
console.log(response.status, await response.text());
