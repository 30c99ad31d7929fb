import { randomBytes } from "node:crypto";
import { createServer, type Server } from "node:https";
import { afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { closeServer, listenOnLoopback } from "../loopback.ts";
import { type Certificate, selfSigned, trust } from "../testing/self-signed.ts";
import { Unanswered } from "./http-call.ts";
import { putBytes } from "./http-put.ts";

let certificate: Certificate;
let store: Server;
let url: string;
let received: Buffer[];
let distrust: () => void;

beforeAll(async () => {
  certificate = selfSigned();
});
// Each on a port of its own: a connection that was kept asks for no certificate.
beforeEach(async () => {
  distrust = () => {};
  received = [];
  store = createServer(certificate, (request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("end", () => {
      received.push(Buffer.concat(chunks));
      response.writeHead(200, { etag: '"abc"' }).end("stored");
    });
  });
  url = `https://127.0.0.1:${await listenOnLoopback(store)}/part?X-Amz-Signature=secret`;
});
afterEach(() => {
  distrust();
  return closeServer(store);
});

const body = randomBytes(3_000_001);
const put = () => putBytes(url, { headers: {}, body, timeoutMs: 10_000, signal: new AbortController().signal });

test("over TLS a body arrives whole, and the answer comes back", async () => {
  distrust = trust(certificate);
  const { status, headers, text } = await put();
  expect({ status, etag: headers.get("etag"), text }).toEqual({ status: 200, etag: '"abc"', text: "stored" });
  expect(received.map((bytes) => bytes.equals(body))).toEqual([true]);
});

test("a store whose certificate nobody vouches for gets nothing, and the signature is not in what is said of it", async () => {
  const error = await put().catch((cause: unknown) => cause);
  expect(error).toBeInstanceOf(Unanswered);
  expect(String(error)).toContain("certificate");
  expect(String(error)).not.toContain("secret");
  expect(received).toEqual([]);
});
