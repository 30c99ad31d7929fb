/** The stand-in for the platform's cache does what the platform is known to do, and nothing to those who say no-store. */
import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { convertV4MiniflareOptions, Miniflare } from "miniflare";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { platformCacheName, platformCacheWorker } from "./platform-cache.ts";

const behind = `
  export default {
    async fetch(request) {
      const { url, init } = await request.json();
      const body = init.method === "PUT" ? new Response("0123456789").body.pipeThrough(new FixedLengthStream(10)) : undefined;
      try {
        const answer = await fetch(url, { ...init, ...(body && { body }) });
        return Response.json({ status: answer.status, headers: [...answer.headers], text: await answer.text() });
      } catch (error) {
        return Response.json({ thrown: String(error) });
      }
    },
  };`;

const asked: { method: string; headers: IncomingHttpHeaders; bytes: number }[] = [];
let version = "the first version";
const origin = createServer(async (request, response) => {
  let bytes = 0;
  for await (const chunk of request) bytes += (chunk as Buffer).length;
  asked.push({ method: request.method ?? "", headers: request.headers, bytes });
  const ranged = request.headers.range !== undefined;
  const body = ranged ? version.slice(0, 3) : version;
  response.writeHead(ranged ? 206 : 200, { "content-length": body.length, etag: '"e"' });
  response.end(request.method === "HEAD" ? undefined : body);
});

let miniflare: Miniflare;
let at = "";

beforeAll(async () => {
  await new Promise<void>((resolve) => origin.listen(0, "127.0.0.1", resolve));
  at = `http://127.0.0.1:${(origin.address() as AddressInfo).port}`;
  const worker = { name: "behind", modules: true, script: behind, outboundService: platformCacheName } as const;
  const compatibilityDate = "2026-11-01";
  const workers = [{ ...worker, compatibilityDate }, await platformCacheWorker()];
  miniflare = new Miniflare(convertV4MiniflareOptions({ cf: false, workers }));
  await miniflare.ready;
}, 60_000);

afterAll(async () => {
  await miniflare.dispose();
  origin.close();
});

beforeEach(() => {
  asked.length = 0;
});

type Answer = { status: number; headers: [string, string][]; text: string; thrown?: string };

async function send(url: string, init: Record<string, unknown>): Promise<Answer> {
  const response = await miniflare.dispatchFetch("http://worker/", {
    method: "POST",
    body: JSON.stringify({ url, init }),
  });
  return (await response.json()) as Answer;
}

const conditional = { headers: { "if-match": '"e"', range: "bytes=0-2" } };

test("a HEAD of what may be cached is sent as GET, and is answered without a body", async () => {
  const { status, text } = await send(`${at}/head.mp4`, { method: "HEAD" });
  expect([status, text, asked[0]?.method]).toEqual([200, "", "GET"]);
});

test("its conditions and ranges are dropped: the whole comes back, and the first version stays", async () => {
  version = "the first version";
  expect(await send(`${at}/range.mp4`, conditional)).toMatchObject({ status: 200, text: version });
  expect(asked[0]?.headers).not.toHaveProperty("if-match");
  expect(asked[0]?.headers).not.toHaveProperty("range");
  version = "the second version";
  expect((await send(`${at}/range.mp4`, {})).text).toBe("the first version");
  expect(asked).toHaveLength(1);
});

test.each([
  ["says no-store", "/no-store.mp4", { cache: "no-store" }],
  ["is of no kind that is cached", "/plain.mov", {}],
])("what %s passes untouched", async (_name, path, init) => {
  version = "the first version";
  expect(await send(at + path, { ...init, method: "HEAD" })).toMatchObject({ status: 200, text: "" });
  expect(await send(at + path, { ...init, ...conditional })).toMatchObject({ status: 206, text: "the" });
  version = "the second version";
  expect((await send(at + path, init)).text).toBe(version);
  expect(asked.map(({ method }) => method)).toEqual(["HEAD", "GET", "GET"]);
  expect(asked[1]?.headers).toMatchObject({ "if-match": '"e"', range: "bytes=0-2" });
});

test("a header does not say no-store", async () => {
  await send(`${at}/header.mp4`, { method: "HEAD", headers: { "cache-control": "no-store", pragma: "no-cache" } });
  expect(asked[0]?.method).toBe("GET");
});

test("a body of a known length keeps it, and an origin that is away throws as it does without a cache", async () => {
  await send(`${at}/put.mp4`, { method: "PUT", cache: "no-store" });
  expect(asked[0]).toMatchObject({ method: "PUT", bytes: 10, headers: { "content-length": "10" } });
  const { thrown } = await send("http://127.0.0.1:1/x.mp4", { cache: "no-store" });
  expect(thrown).toContain("Network connection lost");
});
