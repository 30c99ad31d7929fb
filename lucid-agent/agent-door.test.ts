/** What the agent refuses, removes and lists, over HTTP. */
import { chmod, mkdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import path from "node:path";
import { setTimeout } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { AgentHealth, FilePage, Transfer } from "../schemas/agent-protocol.ts";
import { ProblemBody } from "../schemas/api.ts";
import { filesBelow, settledTransfer, until } from "./testing/agent-client.ts";
import { bytes, id, key, useAgentWorld } from "./testing/agent-world.ts";

const world = useAgentWorld();

describe("the tree's bounds", () => {
  test.each(["Clients", "Clients/acme", "Clients/acme/launch"])("a link at %s is never followed", async (linked) => {
    const outside = path.join(world.directory, "outside");
    await mkdir(path.join(outside, "acme", "launch"), { recursive: true });
    await mkdir(path.join(outside, "launch"), { recursive: true });
    await mkdir(path.dirname(path.join(world.root, linked)), { recursive: true });
    await symlink(outside, path.join(world.root, linked));
    const answer = await world.put(world.place());
    expect(answer.status).toBe(403);
    expect(answer.body.code).toBe("PATH_REFUSED");
    const query = new URLSearchParams({ key, mode: "delete" });
    expect((await world.ask("DELETE", `/v1/files?${query}`)).status).toBe(403);
    expect(await filesBelow(outside)).toEqual([]);
  });

  test("a link at the file's own name is not followed, nor taken for the file", async () => {
    const outside = path.join(world.directory, "precious.mp4");
    await writeFile(outside, bytes);
    await mkdir(path.join(world.root, path.dirname(key)), { recursive: true });
    await symlink(outside, path.join(world.root, key));
    expect((await world.put(world.place())).body.code).toBe("PATH_REFUSED");
    expect(bytes.equals(await readFile(outside))).toBe(true);
  });

  test.each([
    "../x_1080p.mp4",
    "/etc/passwd",
    "Clients/acme/../../x_1080p.mp4",
    "Clients/acme/launch/.hidden_1080p.mp4",
  ])("the key %s is refused by name", async (bad) => {
    const answer = await world.put({ ...world.place(), key: bad });
    expect(answer.status).toBe(400);
    expect(ProblemBody.parse(answer.body).errors).toEqual([expect.objectContaining({ path: "key" })]);
    expect(await filesBelow(world.root)).toEqual([]);
  });

  test("no room above the floor: refused before a byte is written", async () => {
    await world.restart({ LUCID_AGENT_MIN_FREE_BYTES: String(2 ** 52) });
    const answer = await world.put(world.place());
    expect(answer.status).toBe(507);
    expect(answer.body.code).toBe("LUCIDLINK_FULL");
    expect(world.origin.ranges).toEqual([]);
    expect(await filesBelow(world.root)).toEqual([]);
  });

  test("a plain folder where a mount is required is refused, and health says so", async () => {
    await world.restart({ LUCID_AGENT_REQUIRE_MOUNT: "true" });
    const answer = await world.put(world.place());
    expect(answer.status).toBe(503);
    expect(answer.body.code).toBe("LUCIDLINK_NOT_MOUNTED");
    const health = await world.ask("GET", "/healthz", undefined, null);
    expect(health.status).toBe(503);
    expect(AgentHealth.parse(health.body)).toMatchObject({ status: "degraded", mounted: false, freeBytes: null });
    expect(await filesBelow(world.root)).toEqual([]);
  });

  test("a root that went away is not created", async () => {
    await rm(world.root, { recursive: true });
    expect((await world.put(world.place())).body.code).toBe("LUCIDLINK_NOT_MOUNTED");
    await expect(stat(world.root)).rejects.toThrow("ENOENT");
    await mkdir(world.root);
  });
});

describe("files", () => {
  const remove = (mode: string, op?: number) =>
    world.ask("DELETE", `/v1/files?${new URLSearchParams({ key, mode, ...(op ? { op: String(op) } : {}) })}`);

  test("archiving moves the file, doing it twice is success, and an archived file is never overwritten", async () => {
    await world.put(world.place());
    await settledTransfer(world.agent.url, id);
    expect((await remove("archive")).body).toMatchObject({
      removed: true,
      archivedKey: "Archives/acme/launch/0123456789abcdef01234567_1080p.mp4",
    });
    expect((await remove("archive")).body).toMatchObject({ removed: false, archivedKey: null });
    await world.put(world.place());
    await settledTransfer(world.agent.url, id);
    await remove("archive");
    const files = await filesBelow(world.root);
    expect(files).toHaveLength(2);
    expect(files.every((file) => file.startsWith("Archives/acme/launch/"))).toBe(true);
  });

  test("deleting stops the copy under way and leaves nothing, temporary files included", async () => {
    world.origin.bytesPerSecond = 50_000;
    await world.put(world.place());
    await until(
      () => filesBelow(world.root),
      (files) => files.length > 0,
    );
    expect((await remove("delete")).status).toBe(200);
    expect(await filesBelow(world.root)).toEqual([]);
    expect((await world.ask("GET", `/v1/transfers/${id}`)).status).toBe(404);
  });

  test("a removal older than the newest placement is a conflict", async () => {
    await world.put(world.place({ op: 5 }));
    await settledTransfer(world.agent.url, id);
    expect((await remove("delete", 4)).status).toBe(409);
    expect((await remove("delete", 6)).body.removed).toBe(true);
  });

  test("cancelling removes the temporary file and forgets the transfer; twice is fine", async () => {
    world.origin.bytesPerSecond = 50_000;
    await world.put(world.place());
    await until(
      () => filesBelow(world.root),
      (files) => files.length > 0,
    );
    for (const _ of [1, 2]) expect((await world.ask("DELETE", `/v1/transfers/${id}`)).status).toBe(204);
    expect(await filesBelow(world.root)).toEqual([]);
  });

  test("are listed in pages by prefix, without dot-names and links", async () => {
    const names = ["Clients/a/p/1.mp4", "Clients/a/p-q/2.mp4", "Clients/a/p/3.mp4", "Clients/b/p/4.mp4"];
    for (const name of [...names, "Clients/a/p/.1.mp4.part", ".lucid/secret"]) {
      await mkdir(path.join(world.root, path.dirname(name)), { recursive: true });
      await writeFile(path.join(world.root, name), name);
    }
    await symlink("/etc/hostname", path.join(world.root, "Clients/a/p/link.mp4"));
    const list = async (query: Record<string, string>) =>
      FilePage.parse((await world.ask("GET", `/v1/files?${new URLSearchParams(query)}`)).body);
    const seen: string[] = [];
    for (let cursor: string | null = ""; cursor !== null; ) {
      const page: FilePage = await list({ prefix: "Clients/", limit: "1", ...(cursor === "" ? {} : { cursor }) });
      seen.push(...page.files.map((file) => file.key));
      cursor = page.cursor;
    }
    expect(seen.sort()).toEqual([...names].sort());
    expect((await list({ prefix: "Clients/a/p/" })).files.map((file) => file.key)).toEqual([
      "Clients/a/p/1.mp4",
      "Clients/a/p/3.mp4",
    ]);
    expect((await list({ prefix: "Clients/zz" })).files).toEqual([]);
  });
});

describe("the door", () => {
  test.each(["wrong-token-wrong-token", null, ""])(
    "the token %s is refused everywhere but at /healthz",
    async (bearer) => {
      for (const [method, at] of [
        ["GET", "/v1/transfers"],
        ["PUT", `/v1/transfers/${id}`],
        ["DELETE", "/v1/files?key=x&mode=delete"],
        ["GET", "/v1/nowhere"],
      ] as const) {
        const answer = await world.ask(method, at, method === "PUT" ? world.place() : undefined, bearer);
        expect(answer.status).toBe(401);
        expect(ProblemBody.parse(answer.body).code).toBe("UNAUTHENTICATED");
      }
      expect((await world.ask("GET", "/healthz", undefined, null)).status).toBe(200);
    },
  );

  test.each([
    ["no JSON", "{", 400, "BAD_REQUEST"],
    ["an unknown field", { ...({} as object), extra: 1 }, 400, "BAD_REQUEST"],
    ["a body beyond the limit", "x".repeat(70_000), 413, "PAYLOAD_TOO_LARGE"],
  ])("%s is refused", async (_name, body, status, code) => {
    const answer = await world.put(body);
    expect(answer.status).toBe(status);
    expect(answer.headers.get("content-type")).toBe("application/problem+json");
    expect(ProblemBody.parse(answer.body)).toMatchObject({ code, requestId: answer.headers.get("x-request-id") });
  });

  test("a body beyond the limit is refused where none is read, too", async () => {
    const answer = await world.ask("DELETE", `/v1/transfers/${id}`, "x".repeat(70_000));
    expect(answer.status).toBe(413);
  });

  test("a caller that hangs up in mid-body leaves no line in the log of errors", async () => {
    const { hostname, port } = new URL(world.agent.url);
    const socket = connect(Number(port), hostname);
    const head = `PUT /v1/transfers/${id} HTTP/1.1\r\nhost: agent\r\ncontent-length: 1000\r\n\r\n`;
    await new Promise<void>((resolve) => socket.write(`${head}{`, () => resolve()));
    await setTimeout(100);
    socket.destroy();
    await until(
      () => world.logLines,
      (lines) => lines.includes('"status":400'),
    );
    expect(world.logLines).not.toContain('"refused"');
  });

  test("a part count that does not fit the size is refused by name", async () => {
    const { sha256, ...rest } = world.place();
    const answer = await world.put({ ...rest, sha256: { ...sha256, parts: sha256.parts + 1 } });
    expect(answer.body.errors).toEqual([expect.objectContaining({ path: "sha256.parts" })]);
  });

  test("unknown addresses and methods are told apart", async () => {
    expect((await world.ask("GET", "/v2")).status).toBe(404);
    const answer = await world.ask("POST", "/v1/transfers");
    expect(answer.status).toBe(405);
    expect(answer.headers.get("allow")).toBe("GET");
  });

  test("transfers are kept where nobody else can read them", async () => {
    world.origin.bytesPerSecond = 50_000;
    await world.put(world.place());
    const state = path.join(world.directory, "state", "transfers");
    expect((await stat(state)).mode & 0o777).toBe(0o700);
    const files = await filesBelow(state);
    expect(files).toHaveLength(1);
    for (const file of files) expect((await stat(path.join(state, file))).mode & 0o777).toBe(0o600);
    await world.ask("DELETE", `/v1/transfers/${id}`);
    expect(await filesBelow(state)).toEqual([]);
  });

  test("the source's URL is not kept once the transfer has ended", async () => {
    await world.put(world.place());
    await settledTransfer(world.agent.url, id);
    await until(
      async () => {
        const state = path.join(world.directory, "state", "transfers");
        const [file = ""] = await filesBelow(state);
        return readFile(path.join(state, file), "utf8");
      },
      (text) => !text.includes(world.origin.url),
    );
  });
});

test("a lucid probe that cannot be run never makes a file durable; one that says 0 does", async () => {
  const binary = path.join(world.directory, "lucid");
  const answerWith = async (output: string) => {
    await writeFile(binary, `#!/bin/sh\necho "${output}"\n`);
    await chmod(binary, 0o755);
  };
  await answerWith("Remaining upload: 12.5 MiB");
  await world.restart({
    LUCID_AGENT_PROBE: "lucid",
    LUCID_AGENT_LUCID_BIN: binary,
    LUCID_AGENT_REQUIRE_MOUNT: "false",
  });
  await world.put(world.place());
  const read = async () => Transfer.parse((await world.ask("GET", `/v1/transfers/${id}`)).body);
  await until(read, ({ status }) => status === "uploading");
  expect(await filesBelow(world.root)).toEqual([key]);
  await answerWith("no such thing");
  await until(
    () => world.logLines,
    (lines) => lines.includes("does not tell the remaining upload"),
  );
  expect(await read()).toMatchObject({ status: "uploading" });
  await answerWith("Remaining upload: 0 B");
  expect(await settledTransfer(world.agent.url, id)).toMatchObject({ status: "durable" });
});
