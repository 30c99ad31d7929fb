/** Placing over HTTP, from a source and to a receiver that misbehave. */
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { AgentHealth, Transfer } from "../schemas/agent-protocol.ts";
import { ProblemBody } from "../schemas/api.ts";
import { bytesOf, filesBelow, placeOf, settledTransfer, token, until } from "./testing/agent-client.ts";
import { bytes, id, key, useAgentWorld } from "./testing/agent-world.ts";

const world = useAgentWorld();

describe("placing", () => {
  test("lands whole at its key, leaves nothing else, and is told by a genuine callback", async () => {
    const answer = await world.put(world.place());
    expect(answer.status).toBe(202);
    expect(Transfer.parse(answer.body)).toMatchObject({ id, key, sizeBytes: bytes.length, problem: null });
    expect(await settledTransfer(world.agent.url, id)).toMatchObject({ status: "durable", bytesWritten: bytes.length });
    expect(await filesBelow(world.root)).toEqual([key]);
    expect(bytes.equals(await readFile(path.join(world.root, key)))).toBe(true);
    const [callback] = await until(
      () => world.receiver.received,
      (all) => all.length > 0,
    );
    expect(callback).toMatchObject({
      genuine: true,
      body: {
        type: "transfer.durable",
        data: { transferId: id, op: 1, commandId: "0123456789abcdef01234567:7:0", key, problem: null },
      },
    });
  });

  test("the same request again answers how it stands and copies nothing", async () => {
    await world.put(world.place());
    await settledTransfer(world.agent.url, id);
    const again = await world.put(world.place());
    expect(again.status).toBe(200);
    expect(again.body.status).toBe("durable");
    expect(world.origin.ranges).toHaveLength(1);
  });

  test("the same id for other bytes is a conflict, and changes nothing", async () => {
    await world.put(world.place());
    const before = await settledTransfer(world.agent.url, id);
    const other = bytesOf(300_000, "other");
    const answer = await world.put(placeOf(other, world.origin.url, world.receiver.url));
    expect(answer.status).toBe(409);
    expect(ProblemBody.parse(answer.body)).toMatchObject({ code: "CONFLICT", status: 409 });
    expect((await world.ask("GET", `/v1/transfers/${id}`)).body).toEqual(before);
  });

  test("a file that is there already, whole and right, is not copied again", async () => {
    await mkdir(path.join(world.root, path.dirname(key)), { recursive: true });
    await writeFile(path.join(world.root, key), bytes);
    await world.put(world.place());
    expect(await settledTransfer(world.agent.url, id)).toMatchObject({ status: "durable" });
    expect(world.origin.ranges).toEqual([]);
  });

  test("a file of the same size with other bytes is replaced", async () => {
    await mkdir(path.join(world.root, path.dirname(key)), { recursive: true });
    await writeFile(path.join(world.root, key), bytesOf(300_000, "other"));
    await world.put(world.place());
    await settledTransfer(world.agent.url, id);
    expect(bytes.equals(await readFile(path.join(world.root, key)))).toBe(true);
  });

  test("an older operation on a key that a newer one holds is refused; a newer one takes it over", async () => {
    await world.put(world.place({ op: 2 }), "second");
    await settledTransfer(world.agent.url, "second");
    expect((await world.put(world.place({ op: 1 }), "first")).status).toBe(409);
    expect((await world.put(world.place({ op: 3 }), "third")).status).toBe(202);
    expect(await settledTransfer(world.agent.url, "third")).toMatchObject({ status: "durable", op: 3 });
    expect((await world.ask("GET", "/v1/transfers/second")).status).toBe(404);
  });

  test("a durable file that vanished is placed again when asked for", async () => {
    await world.put(world.place());
    await settledTransfer(world.agent.url, id);
    await rm(path.join(world.root, key));
    expect((await world.put(world.place())).status).toBe(202);
    expect(await settledTransfer(world.agent.url, id)).toMatchObject({ status: "durable" });
    expect(await filesBelow(world.root)).toEqual([key]);
  });
});

describe("a source that misbehaves", () => {
  test("a cut connection is resumed from the byte where it stopped", async () => {
    world.origin.faults.push({ kind: "cut", afterBytes: 100_000 }, { kind: "cut", afterBytes: 50_000 });
    await world.put(world.place());
    expect(await settledTransfer(world.agent.url, id)).toMatchObject({ status: "durable" });
    expect(bytes.equals(await readFile(path.join(world.root, key)))).toBe(true);
    expect(world.origin.ranges).toEqual(["bytes=0-299999", "bytes=100000-299999", "bytes=150000-299999"]);
  });

  test.each([
    ["a short body", { kind: "short", byBytes: 1_000 }],
    ["silence", { kind: "silent", afterBytes: 1_000 }],
    ["a busy source", { kind: "status", status: 503 }],
    ["a rate limit in 403's clothes", { kind: "status", status: 403, body: "<Code>RequestRateLimitExceeded</Code>" }],
  ] as const)("%s is overcome", async (_name, fault) => {
    world.origin.faults.push(fault);
    await world.put(world.place());
    expect(await settledTransfer(world.agent.url, id)).toMatchObject({ status: "durable" });
    expect(bytes.equals(await readFile(path.join(world.root, key)))).toBe(true);
    expect(world.origin.ranges).toHaveLength(2);
  });

  test("wrong bytes once are fetched again, whole", async () => {
    world.origin.faults.push({ kind: "garble", at: 70_000 });
    await world.put(world.place());
    expect(await settledTransfer(world.agent.url, id)).toMatchObject({ status: "durable" });
    expect(bytes.equals(await readFile(path.join(world.root, key)))).toBe(true);
  });

  test.each([
    [
      "wrong bytes",
      [
        { kind: "garble", at: 70_000 },
        { kind: "garble", at: 70_000 },
      ],
      "CHECKSUM_MISMATCH",
      true,
    ],
    ["a page of HTML with 200", [{ kind: "html" }], "SOURCE_UNREADABLE", true],
    ["another size", [{ kind: "total", sizeBytes: 299_999 }], "SIZE_MISMATCH", false],
    ["a missing object", [{ kind: "status", status: 404 }], "SOURCE_UNREADABLE", true],
    ["nothing but cuts", Array(4).fill({ kind: "cut", afterBytes: 10 }), "SOURCE_UNREADABLE", true],
  ] as const)("%s never becomes a file: the transfer fails and says why", async (_name, faults, code, retryable) => {
    world.origin.faults.push(...faults);
    await world.put(world.place());
    const failed = await settledTransfer(world.agent.url, id);
    expect(failed).toMatchObject({ status: "failed", problem: { code, retryable } });
    expect(await filesBelow(world.root)).not.toContain(key);
    const [callback] = await until(
      () => world.receiver.received,
      (all) => all.length > 0,
    );
    expect(callback).toMatchObject({ genuine: true, body: { type: "transfer.failed", data: { problem: { code } } } });
  });

  test("bytes that proved wrong leave no temporary file", async () => {
    world.origin.faults.push({ kind: "garble", at: 0 }, { kind: "garble", at: 0 });
    await world.put(world.place());
    await settledTransfer(world.agent.url, id);
    expect(await filesBelow(world.root)).toEqual([]);
  });

  test("an object that was replaced meanwhile is refused by its ETag", async () => {
    await world.put(world.place({ etag: "another" }));
    expect(await settledTransfer(world.agent.url, id)).toMatchObject({ problem: { code: "ETAG_MISMATCH" } });
  });

  test("an expired URL asks for a fresh one, which goes on from where the copy stopped", async () => {
    world.origin.requiredSignature = "old";
    world.origin.faults.push({ kind: "cut", afterBytes: 120_000 });
    const expiring = { ...world.place(), source: { url: `${world.origin.url}?X-Amz-Signature=old`, etag: "abc123" } };
    await world.put(expiring);
    await until(
      () => world.origin.ranges.length,
      (n) => n > 0,
    );
    world.origin.requiredSignature = "fresh";
    const expired = await settledTransfer(world.agent.url, id);
    expect(expired).toMatchObject({ status: "failed", problem: { code: "SOURCE_EXPIRED", retryable: true } });
    const [callback] = await until(
      () => world.receiver.received,
      (all) => all.length > 0,
    );
    expect(callback).toMatchObject({ genuine: true, body: { type: "transfer.source-expired" } });
    expect((await world.put(expiring)).body.status).toBe("failed");

    const fresh = { ...expiring, source: { url: `${world.origin.url}?X-Amz-Signature=fresh`, etag: "abc123" } };
    expect((await world.put(fresh)).status).toBe(202);
    expect(await settledTransfer(world.agent.url, id)).toMatchObject({ status: "durable" });
    expect(world.origin.ranges.at(-1)).toBe("bytes=120000-299999");
    expect(await filesBelow(world.root)).toEqual([key]);
  });

  test("neither the log nor anything that is told holds the query of a URL", async () => {
    world.origin.requiredSignature = "never";
    await world.put({
      ...world.place(),
      source: { url: `${world.origin.url}?X-Amz-Signature=hush-hush`, etag: "abc123" },
    });
    const failed = await settledTransfer(world.agent.url, id);
    await until(
      () => world.receiver.received,
      (all) => all.length > 0,
    );
    expect(JSON.stringify([failed, world.receiver.received]) + world.logLines).not.toContain("hush-hush");
    expect(world.logLines).not.toContain(token);
    expect(world.logLines).toContain("SOURCE_EXPIRED");
  });
});

describe("callbacks", () => {
  test("are repeated under one webhook-id until they are accepted, then no more", async () => {
    world.receiver.answers.push(500, 503, 404);
    await world.put(world.place());
    await until(
      () => world.receiver.received.length,
      (n) => n === 4,
    );
    expect(new Set(world.receiver.received.map((call) => call.webhookId)).size).toBe(1);
    expect(world.receiver.received.every((call) => call.genuine)).toBe(true);
    const health = await until(
      async () => AgentHealth.parse((await world.ask("GET", "/healthz", undefined, null)).body),
      ({ pendingCallbacks }) => pendingCallbacks === 0,
    );
    expect(health.transfers.durable).toBe(1);
    expect(world.receiver.received).toHaveLength(4);
  });

  test("are made, and the agent goes on, when the journal can be written no more", async () => {
    await world.restart(
      {},
      { keepEndedMs: 0, pruneIntervalMs: 20, callback: { baseMs: 5, maxMs: 10, maxTries: 9_999 } },
    );
    world.receiver.answers.push(...Array<number>(9_999).fill(503));
    await world.put(world.place());
    await settledTransfer(world.agent.url, id);
    const journal = path.join(world.directory, "state", "transfers");
    // The agent may be writing into it at this very moment.
    await rm(journal, { recursive: true, maxRetries: 20, retryDelay: 5 });
    await writeFile(journal, "no directory");
    world.receiver.answers.length = 0;
    await until(
      () => world.logLines,
      (lines) => lines.includes("callback accepted") && lines.includes("the journal cannot be pruned"),
    );
    expect((await world.ask("GET", "/healthz", undefined, null)).status).toBe(200);
  });

  test("go to the configured origin only", async () => {
    await world.restart({ LUCID_AGENT_CALLBACK_URL: "https://worker.test/v1/agent/callback" });
    const answer = await world.put(world.place());
    expect(answer.status).toBe(400);
    expect(answer.body.errors).toEqual([expect.objectContaining({ path: "callback.url" })]);
  });
});
