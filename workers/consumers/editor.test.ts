/** What the agent's answers mean to the object. The agent is scripted at the network: its own suite proves it. */
import { env as bindings } from "cloudflare:workers";
import { afterEach, expect, test, vi } from "vitest";
import { PlaceRequest, transferId } from "../../schemas/agent-protocol.ts";
import type { CommandOf } from "../../schemas/command.ts";
import { editorKey, proxyKey } from "../../schemas/key.ts";
import { testBindings } from "../../test/bindings.ts";
import { scriptedDoor } from "../../test/scripted-door-worker.ts";
import { type Env, parseConfig } from "../stores/config.ts";
import { checkEditorCopy, placeEditorCopy, removeEditorCopy } from "./editor.ts";
import type { StepCommand } from "./step-of.ts";
import { runStep } from "./step-work.ts";
import { type Facts, tools, type Workbench } from "./workbench.ts";

const owner = { clientName: "acme", projectName: "film", fileId: "file-0001" };
const source = {
  key: proxyKey(owner, "1080p"),
  etag: "abc-2",
  sizeBytes: 100,
  sha256: { partSizeBytes: 64, parts: 2, composite: "a".repeat(64) },
};
const common = { id: "file-0001:4:0", fileId: owner.fileId, op: 4, quality: "1080p", jobId: "0".repeat(24) } as const;
const key = editorKey(owner, "1080p");
const place: CommandOf<"PlaceEditorCopy"> = { ...common, type: "PlaceEditorCopy", key, source };
const check: CommandOf<"CheckEditorCopy"> = { ...place, type: "CheckEditorCopy" };
const remove: CommandOf<"RemoveEditorCopy"> = { ...common, type: "RemoveEditorCopy", key };

const transfer = (over: object = {}) => ({
  id: transferId(place),
  key,
  status: "copying",
  bytesWritten: 1,
  sizeBytes: 100,
  sha256: source.sha256.composite,
  op: 4,
  problem: null,
  updatedAt: new Date().toISOString(),
  ...over,
});
const failed = (code: string, retryable: boolean) =>
  transfer({ status: "failed", problem: { code, message: "m", retryable } });

afterEach(() => vi.restoreAllMocks());

async function run<C extends StepCommand>(
  command: C,
  work: (command: C, bench: Workbench) => Promise<Facts>,
  answers: [status: number, json: unknown][],
) {
  const asked: { method: string; path: string; authorization: string | null; body: unknown }[] = [];
  vi.spyOn(globalThis, "fetch").mockImplementation(async (input) => {
    const request = input as Request;
    const { pathname, search } = new URL(request.url);
    const text = await request.text();
    const body = text === "" ? null : JSON.parse(text);
    asked.push({
      method: request.method,
      path: pathname + search,
      authorization: request.headers.get("authorization"),
      body,
    });
    const [status, json] = answers.shift() ?? [500, {}];
    return Response.json(json, { status });
  });
  const door = scriptedDoor();
  const bench = tools(bindings as unknown as Env, parseConfig(testBindings));
  await runStep({ command, delivery: { messageId: "m1", attempts: 1 }, door, bench, work: (b) => work(command, b) });
  return { asked, facts: door.told.map((each) => each.event), calls: door.calls };
}

test("a placement names its intent, brings a presigned source, and says nothing while it is under way", async () => {
  const { asked, facts, calls } = await run(place, placeEditorCopy, [[202, transfer()]]);
  expect(facts).toEqual([]);
  expect(calls).toEqual(["begin", "claim place"]);
  expect(asked).toMatchObject([
    {
      method: "PUT",
      path: `/v1/transfers/${transferId(place)}`,
      authorization: `Bearer ${testBindings.LUCID_AGENT_TOKEN}`,
    },
  ]);
  const request = PlaceRequest.parse(asked[0]?.body);
  expect(request).toMatchObject({
    key,
    sizeBytes: 100,
    callback: { op: 4, url: "https://media.test/v1/agent/callback" },
  });
  expect(new URL(request.source.url).searchParams.get("X-Amz-Signature")).toMatch(/^[0-9a-f]{64}$/);
});

test.each([
  ["durable", transfer({ status: "durable" }), { type: "CopyPlaced", tier: "lucidlink", sizeBytes: 100 }],
  ["durable, of other bytes", transfer({ status: "durable", sha256: "b".repeat(64) }), { code: "CHECKSUM_MISMATCH" }],
  ["full", failed("LUCIDLINK_FULL", true), { type: "StepDeferred", code: "LUCIDLINK_FULL" }],
  ["a refused path", failed("PATH_REFUSED", false), { type: "StepFailed", code: "PATH_REFUSED" }],
])("an answer of %s becomes its fact", async (_name, answer, fact) => {
  expect((await run(place, placeEditorCopy, [[200, answer]])).facts).toMatchObject([fact]);
});

test.each([
  [
    "a refusal with a code",
    503,
    { code: "LUCIDLINK_NOT_MOUNTED", detail: "not mounted" },
    "StepDeferred",
    "LUCIDLINK_NOT_MOUNTED",
  ],
  ["an outage", 502, "bad gateway", "StepDeferred", "LUCIDLINK_UNAVAILABLE"],
  ["a wrong token", 401, {}, "StepDeferred", "LUCIDLINK_UNAVAILABLE"],
  ["an answer that is none", 200, { ok: true }, "StepDeferred", "LUCIDLINK_UNAVAILABLE"],
  ["a conflict", 409, {}, "StepFailed", "CONFLICT"],
])("%s is told as what it is", async (_name, status, json, type, code) => {
  expect((await run(place, placeEditorCopy, [[status, json]])).facts).toMatchObject([{ type, code }]);
});

test("a check brings a fresh source to an agent whose URL has expired, and all of it to one that forgot", async () => {
  for (const answer of [
    [404, {}],
    [200, failed("SOURCE_EXPIRED", true)],
  ] as [number, unknown][]) {
    const { asked, facts } = await run(check, checkEditorCopy, [answer, [202, transfer()]]);
    expect(asked.map((each) => each.method)).toEqual(["GET", "PUT"]);
    expect(facts).toEqual([]);
  }
  const underWay = await run(check, checkEditorCopy, [[200, transfer()]]);
  expect(underWay.asked.map((each) => each.method)).toEqual(["GET"]);
  expect(underWay.facts).toEqual([]);
});

test("a removal claims the key and is done when the agent says so", async () => {
  const answer = { key, mode: "delete", removed: false, archivedKey: null };
  const { asked, facts, calls } = await run(remove, removeEditorCopy, [[200, answer]]);
  expect(calls).toEqual(["begin", "claim remove"]);
  expect(asked[0]).toMatchObject({ method: "DELETE" });
  expect(new URLSearchParams(asked[0]?.path.split("?")[1]).get("op")).toBe("4");
  expect(facts).toMatchObject([{ type: "CopyRemoved", tier: "lucidlink", op: 4 }]);
});
