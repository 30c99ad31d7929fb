/**
 * Ranges and conditions of delivery against a reference: the `send` package (the file server of express) over the same
 * bytes, asked the same raw HTTP. Where we differ, the row says why.
 */
import { createHash } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingHttpHeaders, request, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import send from "send";
import { afterAll, beforeAll, expect, test } from "vitest";
import { deliverRendition } from "../../bench/stand-in-runner.ts";
import { readStackFile } from "../../dev/stack-file.ts";
import { defaultLadder } from "../../schemas/ladder.ts";
import type { PipelineClient } from "./pipeline-client.ts";
import { StackProcess } from "./stack-process.ts";

const quality = "360p";
const sizeBytes = 300_000;
const policy = {
  ladder: { ...defaultLadder, rungs: defaultLadder.rungs.filter((rung) => rung.quality === quality) },
  placement: { edgeQualities: [quality], lucidlink: false },
};

let stack: StackProcess;
let client: PipelineClient;
let folder: string;
let reference: Server;
let referenceUrl: string;
let doorUrl: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mmf-conformance-"));
  stack = await StackProcess.start({ policy, flags: ["--runners", "0", "--no-agent"] });
  client = await stack.client();
  const file = await readStackFile(stack.dataDirectory);
  if (file === null) throw new Error("the stack has no stack.json");
  const signal = AbortSignal.timeout(60_000);
  const onProgress = () => undefined;
  const fileId = await deliverRendition(file, { sizeBytes, signal, onProgress, beforeReport: async () => undefined });
  await client.followTo(fileId, "distributed", 60_000);
  doorUrl = await client.playbackUrl(fileId, quality);
  await writeFile(join(folder, "proxy.mp4"), Buffer.from(await (await fetch(doorUrl)).arrayBuffer()));
  reference = createServer((asked, response) => send(asked, "/proxy.mp4", { root: folder }).pipe(response));
  await new Promise<void>((resolve) => reference.listen(0, "127.0.0.1", resolve));
  referenceUrl = `http://127.0.0.1:${(reference.address() as AddressInfo).port}/`;
});

afterAll(async () => {
  reference?.closeAllConnections();
  reference?.close();
  await stack?.destroy();
  await rm(folder, { recursive: true, force: true });
});

interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

function ask(url: string, method: string, headers: Record<string, string>): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = request(url, { method, headers, agent: false, timeout: 30_000 }, (response) => {
      const pieces: Buffer[] = [];
      response.on("data", (piece: Buffer) => pieces.push(piece));
      response.on("error", reject);
      response.on("end", () => {
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(pieces) });
      });
    });
    asked.on("timeout", () => asked.destroy(new Error("no answer in time")));
    asked.on("error", reject);
    asked.end();
  });
}

/** $ETAG and $DATE are each server's own; $LATER and $EARLIER lie ten seconds off its date. */
async function asked(url: string, method: string, template: Record<string, string>): Promise<Answer> {
  const { headers } = await ask(url, "HEAD", {});
  const date = Date.parse(headers["last-modified"] ?? "");
  const shifted = (seconds: number) => new Date(date + seconds * 1_000).toUTCString();
  const filled = Object.entries(template).map(([name, value]) => [
    name,
    value
      .replace("$ETAG", headers.etag ?? "")
      .replace("$DATE", shifted(0))
      .replace("$LATER", shifted(10))
      .replace("$EARLIER", shifted(-10)),
  ]);
  return ask(url, method, Object.fromEntries(filled));
}

/** What both must agree on. Bodies of errors are each server's own. */
function facts({ status, headers, body }: Answer) {
  const hasBytes = status === 200 || status === 206;
  return {
    status,
    contentRange: headers["content-range"] ?? null,
    contentLength: hasBytes ? (headers["content-length"] ?? null) : null,
    acceptRanges: hasBytes ? (headers["accept-ranges"] ?? null) : null,
    hasEtag: hasBytes || status === 304 ? headers.etag !== undefined : null,
    body: hasBytes ? createHash("sha256").update(body).digest("hex") : null,
  };
}

type Row = readonly [method: string, headers: Record<string, string>];

const same: readonly Row[] = [
  ["GET", {}],
  ["HEAD", {}],
  ["GET", { range: "bytes=0-0" }],
  ["GET", { range: "bytes=0-" }],
  ["GET", { range: "bytes=100-199" }],
  ["GET", { range: "bytes=1000-270000" }],
  ["GET", { range: "bytes=299999-" }],
  ["GET", { range: "bytes=299990-999999" }],
  ["GET", { range: "bytes=-1" }],
  ["GET", { range: "bytes=-1000" }],
  ["GET", { range: "bytes=-0" }],
  ["GET", { range: "bytes=300000-" }],
  ["GET", { range: "bytes=300000-300001" }],
  ["GET", { range: "items=0-1" }],
  ["GET", { range: "bytes=0-1,100-101" }],
  ["GET", { "if-none-match": "$ETAG" }],
  ["HEAD", { "if-none-match": "$ETAG" }],
  ["GET", { "if-none-match": '"other", $ETAG' }],
  ["GET", { "if-none-match": "*" }],
  ["GET", { "if-none-match": '"other"' }],
  ["GET", { "if-none-match": "$ETAG", range: "bytes=0-1" }],
  ["GET", { "if-modified-since": "$DATE" }],
  ["GET", { "if-modified-since": "$LATER" }],
  ["GET", { "if-modified-since": "$EARLIER" }],
  ["GET", { "if-none-match": '"other"', "if-modified-since": "$LATER" }],
  ["GET", { "if-match": "$ETAG" }],
  ["GET", { "if-match": "*" }],
  ["GET", { "if-match": '"other"' }],
  ["GET", { "if-match": '"other"', range: "bytes=0-1" }],
  ["GET", { "if-unmodified-since": "$DATE" }],
  ["GET", { "if-unmodified-since": "$EARLIER" }],
  ["GET", { "if-range": "$ETAG", range: "bytes=5-9" }],
  ["GET", { "if-range": '"other"', range: "bytes=5-9" }],
  ["GET", { "if-range": "$DATE", range: "bytes=5-9" }],
  ["GET", { "if-range": "$EARLIER", range: "bytes=5-9" }],
];

test.each(same)("%s %o: as the reference answers", async (method, headers) => {
  const [ours, theirs] = await Promise.all([asked(doorUrl, method, headers), asked(referenceUrl, method, headers)]);
  expect(facts(ours)).toEqual(facts(theirs));
});

type Answers = readonly [ours: number, theirs: number];

const different: readonly (readonly [why: string, method: string, headers: Record<string, string>, Answers])[] = [
  ["a range that ends before it begins is no range (RFC 9110, 14.1.1)", "GET", { range: "bytes=9-3" }, [200, 416]],
  ["a suffix longer than the file is the file (14.1.3)", "GET", { range: "bytes=-999999" }, [206, 416]],
  ["several ranges are never joined: none is honoured", "GET", { range: "bytes=0-1,2-5" }, [200, 206]],
  ["a range is defined for GET alone (14.2)", "HEAD", { range: "bytes=0-9" }, [200, 206]],
  [
    "If-Range takes the very date, not a later one (13.1.5)",
    "GET",
    { "if-range": "$LATER", range: "bytes=5-9" },
    [200, 206],
  ],
];
test.each(different)("differs on purpose: %s", async (_why, method, headers, [ours, theirs]) => {
  const answer = await asked(doorUrl, method, headers);
  expect(answer.status).toBe(ours);
  expect(answer.headers["content-length"]).toBe(String(sizeBytes));
  expect((await asked(referenceUrl, method, headers)).status).toBe(theirs);
});
