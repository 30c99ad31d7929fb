/**
 * The operator's door that stops a job, in every state that a job may be in, by the real object, queues' consumers and
 * stores: what stops, what stays, what is aborted, who is told, and how a retry goes on.
 */
import { afterEach, describe, expect, test, vi } from "vitest";
import type { Asset } from "../../schemas/asset.ts";
import type { AuditEntry } from "../../schemas/audit.ts";
import type { AssetEvent, UploadDeclaration } from "../../schemas/event.ts";
import { originalKey, proxyKey } from "../../schemas/key.ts";
import { call, env, newUpload, problemOf, quality, seedProxy, storedState, token } from "../../test/door-worker.ts";
import { bodyOf, content, openPipeline, originHost, type Pipeline, serve, wasabi } from "../../test/pipeline-worker.ts";
import { encode, encodeInPart, failEncode } from "../../test/runner-worker.ts";

const bytes = content(10_000);
const admin = await token("admin");
const order = (fileId: string, verb: "cancel" | "retry", as = admin) =>
  call(`/v1/admin/assets/${fileId}/${verb}`, { method: "POST", token: as });

/** By the door, which must take it. @returns the asset as it is answered */
async function ordered(fileId: string, verb: "cancel" | "retry"): Promise<Asset> {
  const response = await order(fileId, verb);
  expect(response.status, verb).toBe(200);
  return (await response.json()) as Asset;
}

async function auditOf(fileId: string): Promise<Pick<AuditEntry, "action" | "by" | "detail">[]> {
  const { results } = await env.CATALOGUE.prepare("SELECT action, by, detail FROM audit WHERE file_id = ? ORDER BY seq")
    .bind(fileId)
    .all<{ action: string; by: string; detail: string }>();
  return results.map((row) => ({ ...row, detail: JSON.parse(row.detail) }));
}

afterEach(() => vi.useRealTimers());

async function noticed(over: Partial<UploadDeclaration>, policy: Record<string, unknown> = {}) {
  const upload = newUpload({ sizeBytes: bytes.length, ...over });
  const pipeline = await openPipeline(upload.fileId, policy);
  await pipeline.notice(upload);
  return { upload, pipeline, fileId: upload.fileId };
}

const fromUrl = { source: { kind: "url", url: `https://${originHost}/a.mov` } } as const;

async function offered() {
  const made = await noticed({});
  const options = { sizeBytes: bytes.length, contentType: "video/quicktime" };
  await wasabi.put(originalKey(made.upload), bodyOf(bytes), options);
  await made.pipeline.drive(({ state }) => state === "archived");
  return made;
}

const sentence = "An operator cancelled the job. A retry resumes it where it stopped.";
const stopped = (step: "archive" | "transcode") => ({
  state: "cancelled",
  progress: null,
  problem: { step, code: "CANCELLED", message: sentence, retryable: false, nextAttemptAt: null },
});

/** Nothing is owed, armed, held or paid for; the application and the catalogue have been told. */
async function expectAtRest(pipeline: Pipeline, problem: "archive" | "transcode"): Promise<void> {
  expect(await pipeline.takeAll()).toMatchObject(stopped(problem));
  expect([...pipeline.openUploads], "uploads that are paid for").toEqual([]);
  const noted = env.CATALOGUE.prepare("SELECT count(*) AS n FROM open_uploads WHERE file_id = ?").bind(pipeline.fileId);
  expect(await noted.first("n")).toBe(0);
  for (const table of ["outbox", "timer", "op_token", "part_hold", "moved_part"]) {
    // Of an original that is kept, moved_part is the proof.
    if (table === "moved_part" && problem === "transcode") continue;
    expect(await pipeline.rows(`SELECT * FROM ${table}`), table).toEqual([]);
  }
  expect(pipeline.waiting("NotifyApp").map(({ event }) => event)).toContain("asset.cancelled");
  expect(pipeline.waiting("PublishCatalogue").at(-1)).toMatchObject({ asset: stopped(problem) });
}

const statusOf = ({ renditions }: Asset) =>
  Object.fromEntries(renditions.map(({ quality, status }) => [quality, status]));
const isWhole = ({ renditions }: Asset) =>
  renditions.length > 0 && renditions.every(({ status }) => status === "archived");

describe("a job that waits for its original", () => {
  const large = 11 * 1024 ** 2;
  const policy = { transferPartBytes: 5 * 1024 ** 2 };

  test("while parts of it are fetched: the upload is aborted, nothing lies at its key, a retry fetches it", async () => {
    const file = content(large);
    const { upload, pipeline, fileId } = await noticed({ ...fromUrl, sizeBytes: large }, policy);
    let read = 0;
    pipeline.origin = async (asked) => {
      // The first read of a part; the one before looked at the file.
      read += 1;
      if (read === 2) expect(await ordered(fileId, "cancel")).toMatchObject(stopped("archive"));
      return serve({ bytes: file, etag: '"v1"' }, asked);
    };
    await expectAtRest(pipeline, "archive");
    expect(read, "it was fetching when the order came").toBeGreaterThanOrEqual(2);
    expect(pipeline.taken).toContain("AbortUpload");
    expect(await wasabi.head(originalKey(upload))).toBeNull();

    expect(await ordered(fileId, "retry")).toMatchObject({ state: "received", problem: null });
    expect((await pipeline.drive(({ state }) => state === "archived")).original).toMatchObject({ sizeBytes: large });
    expect([...pipeline.openUploads]).toEqual([]);
  });

  test("whose original is complete before the order reaches its consumer: it is kept, and nothing is encoded", async () => {
    const { upload, pipeline, fileId } = await noticed(fromUrl);
    pipeline.origin = (asked) => serve({ bytes, etag: '"v1"' }, asked);
    let late = false;
    pipeline.breakWasabi = async ({ method, url }) => {
      if (method === "POST" && url.searchParams.has("uploadId") && !late) {
        late = true;
        await ordered(fileId, "cancel");
      }
      return null;
    };
    await expectAtRest(pipeline, "transcode");
    expect(late, "the order came with the completion").toBe(true);
    const { original } = await pipeline.asset();
    expect(original).toMatchObject({ sizeBytes: bytes.length, etag: (await wasabi.head(originalKey(upload)))?.etag });
    expect(pipeline.waiting("EnqueueTranscode")).toEqual([]);

    expect(await ordered(fileId, "retry")).toMatchObject({ state: "archived", problem: null, generation: 1 });
  });

  test("that waits out a backoff waits no more, and shows why it stands", async () => {
    const { pipeline, fileId } = await noticed({});
    await pipeline.takeOne();
    expect(await pipeline.asset()).toMatchObject({ state: "received", problem: { code: "ORIGINAL_MISSING" } });
    await ordered(fileId, "cancel");
    await expectAtRest(pipeline, "archive");
  });
});

describe("a job that is offered", () => {
  test("is given to no runner any more; a retry offers it again", async () => {
    const { pipeline, fileId } = await offered();
    const { generation } = await pipeline.asset();
    await ordered(fileId, "cancel");
    await expectAtRest(pipeline, "transcode");
    await expect(failEncode(pipeline, "late", "ENCODER_FAILED")).rejects.toThrow("The job was cancelled.");
    expect(await pipeline.asset()).toMatchObject(stopped("transcode"));

    expect(await ordered(fileId, "retry")).toMatchObject({ state: "archived", generation: generation + 1 });
    await encode(pipeline);
    expect((await pipeline.drive(isWhole)).problem?.code).not.toBe("CANCELLED");
  });

  test("is on record with who stopped it, and the order once more changes nothing", async () => {
    const { pipeline, fileId } = await offered();
    const first = await ordered(fileId, "cancel");
    expect(await ordered(fileId, "cancel")).toEqual(first);
    const [newest] = await pipeline.door.history(null, 1);
    expect(newest).toMatchObject({ event: "CancelRequested", by: "admin:test-admin", state: "cancelled" });
    const line = { action: "asset.cancelled", by: "admin:test-admin" };
    expect(await auditOf(fileId)).toEqual([
      { ...line, detail: { state: "archived", taken: 1 } },
      { ...line, detail: { state: "cancelled", taken: 0 } },
    ]);
  });

  test("is stopped by nobody but an operator of its client, and nothing is on record", async () => {
    const { pipeline, fileId } = await offered();
    const { revision } = await pipeline.asset();
    for (const role of ["viewer", "editor", "uploader", "render", "runner", "agent"] as const) {
      const problem = await problemOf(await order(fileId, "cancel", await token(role)));
      expect([problem.status, problem.code], role).toEqual([403, "FORBIDDEN"]);
    }
    const stranger = await problemOf(await order(fileId, "cancel", await token("admin", ["rival"])));
    expect([stranger.status, stranger.code]).toEqual([404, "NOT_FOUND"]);
    const unknown = await problemOf(await order("nobody-has-this-one", "cancel"));
    expect([unknown.status, unknown.code]).toEqual([404, "NOT_FOUND"]);
    expect(await pipeline.asset()).toMatchObject({ state: "archived", revision });
    expect(await auditOf(fileId)).toEqual([]);
  });
});

describe("a job that is encoded", () => {
  test("half-way: its runner is told at once and gets nothing more, what is archived stays and is not made again", async () => {
    const { upload, pipeline, fileId } = await offered();
    const runner = await encodeInPart(pipeline, ["360p"], 540);
    await pipeline.drive((asset) => statusOf(asset)["360p"] === "archived");
    expect(pipeline.openUploads.size).toBe(1);
    const watcher = (await pipeline.stub.fetch("https://object/status", { headers: { Upgrade: "websocket" } }))
      .webSocket;
    const shown: Asset[] = [];
    watcher?.addEventListener("message", ({ data }) => {
      shown.push(JSON.parse(String(data)).asset);
    });
    watcher?.accept();

    await ordered(fileId, "cancel");
    await vi.waitFor(() =>
      expect(runner.heard.at(-1)).toEqual({ type: "cancel", reason: "cancelled", message: "The job was cancelled." }),
    );
    await vi.waitFor(() => expect(shown.at(-1)).toMatchObject(stopped("transcode")));
    const { lease, jobId } = runner;
    await expect(runner.ask({ type: "heartbeat", lease })).rejects.toThrow("The job was cancelled.");
    const more = { lease, quality: "540p", partSizeBytes: 5 << 20, numbers: [2] };
    const path = `/v1/runner/jobs/${jobId}/parts?asset=${fileId}`;
    const refused = await call(path, { method: "POST", token: await token("runner"), json: more });
    expect(await problemOf(refused)).toMatchObject({ status: 409, code: "CONFLICT" });
    runner.close();
    watcher?.close();
    await expectAtRest(pipeline, "transcode");
    expect(pipeline.taken.filter((type) => type === "AbortUpload")).toHaveLength(1);
    expect(statusOf(await pipeline.asset())).toEqual({ "360p": "archived", "540p": "wanted" });
    expect(await wasabi.head(proxyKey(upload, "360p"))).toMatchObject({ sizeBytes: 1_000 });
    expect(await wasabi.head(originalKey(upload))).toMatchObject({ sizeBytes: bytes.length });

    await ordered(fileId, "retry");
    const again = await encodeInPart(pipeline, ["540p"], 540);
    expect(again.archived).toEqual(["360p"]);
    again.close();
    await pipeline.drive(isWhole);
    const made = (await pipeline.events("RenditionArchived")).map(({ detail }) => detail.quality);
    expect(made.sort()).toEqual(["360p", "540p"]);
  });

  test("to the last byte: it is verified and goes nowhere; a retry needs no runner", async () => {
    const { pipeline, fileId } = await offered();
    await encode(pipeline);
    expect(statusOf(await pipeline.asset())).toEqual({ "360p": "uploaded" });
    await ordered(fileId, "cancel");
    await expectAtRest(pipeline, "transcode");
    const { renditions } = await pipeline.asset();
    expect(renditions.map(({ status, copies }) => [status, copies.map(({ tier }) => tier)])).toEqual([
      ["archived", ["wasabi"]],
    ]);

    const after = await ordered(fileId, "retry");
    expect(after).toMatchObject({ state: "distributing", problem: null });
    expect(after.renditions[0]?.copies.map(({ tier }) => tier)).toContain("r2");
  });

  test("in vain, until it has failed: it is a failure no more", async () => {
    const { pipeline, fileId } = await offered();
    for (let attempt = 1; attempt <= 3; attempt += 1) await failEncode(pipeline, "one", "ENCODER_FAILED");
    expect((await pipeline.asset()).state).toBe("failed");
    await ordered(fileId, "cancel");
    await expectAtRest(pipeline, "transcode");
    expect(await ordered(fileId, "retry")).toMatchObject({ state: "archived", problem: null });
  });
});

describe("an asset whose job is over", () => {
  const copyOf = async (fileId: string, tier: "r2" | "lucidlink") => {
    const [rendition] = (await storedState(fileId)).renditions;
    const copy = rendition?.copies.find((each) => each.tier === tier);
    if (rendition?.sha256 == null || rendition.sizeBytes === null || copy === undefined) throw new Error(`no ${tier}`);
    const { sizeBytes, sha256 } = rendition;
    return { about: { tier, quality, jobId: copy.jobId, op: copy.step.op }, proof: { sizeBytes, sha256, etag: null } };
  };

  /** What happens to it after it is on R2, in order. */
  const lives: [state: Asset["state"], ((fileId: string) => Promise<AssetEvent> | AssetEvent)[]][] = [
    ["distributing", []],
    [
      "distributed",
      [
        async (fileId) => {
          const { about, proof } = await copyOf(fileId, "lucidlink");
          return { type: "CopyPlaced", ...about, ...proof };
        },
      ],
    ],
    [
      "evicted",
      [
        () => ({ type: "EvictionRequested", quality }),
        async (fileId) => ({ type: "CopyRemoved", ...(await copyOf(fileId, "r2")).about }),
      ],
    ],
    ["deleting", [() => ({ type: "DeleteRequested" })]],
    [
      "deleted",
      [
        () => {
          vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 365 * 24 * 3_600_000 });
          return { type: "GraceElapsed" };
        },
      ],
    ],
  ];

  test.each(lives.map(([state], index) => ({ state, steps: lives.slice(0, index + 1).flatMap(([, step]) => step) })))(
    "$state: the order is refused, names the state, and changes nothing",
    async ({ state, steps }) => {
      const { upload, door } = await seedProxy({ placed: true });
      const { fileId } = upload;
      for (const eventOf of steps) await door.apply({ key: null, by: "test", event: await eventOf(fileId) });
      const before = await door.view();
      expect(before?.state).toBe(state);
      expect(await problemOf(await order(fileId, "cancel", await token("admin")))).toMatchObject({
        status: 409,
        code: "CONFLICT",
        detail: `The asset is ${state}: there is no job left to cancel.`,
      });
      expect(await door.view()).toEqual(before);
      expect(await auditOf(fileId)).toMatchObject([{ action: "asset.cancelled", detail: { state, taken: 0 } }]);
    },
  );
});
