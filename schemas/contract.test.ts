/** What is stored, sent and tuned: versions are checked, messages survive JSON, a policy needs no field. */
import { describe, expect, test } from "vitest";
import { AssetRun } from "../test/simulation/asset-run.ts";
import { content, upload } from "../test/simulation/asset-sample.ts";
import { loadAssetState } from "./asset-state.ts";
import { Command, type Command as CommandType, deadLetterQueueOf, QueueName, queueOf } from "./command.ts";
import { UploadDeclaration } from "./event.ts";
import { FailureCode, failureFacts } from "./failure.ts";
import { edgeKey, editorKey, originalKey, proxyKey } from "./key.ts";
import { defaultLadder } from "./ladder.ts";
import { Policy } from "./policy.ts";

describe("stored state", () => {
  const run = new AssetRun();
  run.apply({ type: "UploadNoticed", upload });

  test("is loaded as it was written", () => {
    expect(loadAssetState(JSON.stringify(run.asset))).toEqual(run.asset);
  });

  test.each([0, 2, "1", null, undefined])("of version %j is refused, not guessed at", (version) => {
    expect(() => loadAssetState(JSON.stringify({ ...run.asset, version }))).toThrow();
  });

  test("that lacks a part, or is cut off, is refused", () => {
    expect(() => loadAssetState(JSON.stringify({ ...run.asset, job: undefined }))).toThrow();
    expect(() => loadAssetState(JSON.stringify(run.asset).slice(0, -1))).toThrow();
  });
});

describe("policy", () => {
  test("needs no field", () => {
    expect(Policy.parse({})).toMatchObject({
      ladder: defaultLadder,
      placement: { edgeQualities: ["360p", "540p"], lucidlink: true },
      retentionDays: { "360p": 30, "540p": 30, "720p": 14, "1080p": 7, "2160p": 7 },
      leaseMs: 45_000,
      originalGraceMs: 60_000,
      backoff: { baseMs: 5_000, maxMs: 900_000 },
      agentBackoff: { baseMs: 3_000, maxMs: 30_000 },
      opTokenMs: 900_000,
      poisonRunners: 3,
      transcodeAttempts: 3,
      stepAttempts: 5,
      deleteGraceMs: 7 * 24 * 60 * 60 * 1000,
    });
  });

  test("keeps what is given and fills in the rest", () => {
    const policy = Policy.parse({ placement: { lucidlink: false }, backoff: { baseMs: 1 } });
    expect(policy.placement).toEqual({ edgeQualities: ["360p", "540p"], lucidlink: false });
    expect(policy.backoff).toEqual({ baseMs: 1, maxMs: 900_000 });
  });

  test.each([{ leaseMs: 0 }, { leaseMs: 1.5 }, { retentionDays: { "360p": -1 } }, { poisonRunners: 0 }])(
    "%j is refused",
    (policy) => expect(Policy.safeParse(policy).success).toBe(false),
  );
});

const fileId = upload.fileId;
const base = { id: `${fileId}:7:0`, fileId };
const copy = { ...base, op: 3, quality: "360p", jobId: "65a1b2c3d4e5f60718293a4b" } as const;
const archive = { key: proxyKey(upload, "360p"), etag: '"abc-2"', ...content(1) };
const r2 = edgeKey(copy.jobId, "360p");
const lucid = editorKey(upload, "360p");
const commands: CommandType[] = [
  {
    ...base,
    type: "ArchiveOriginal",
    stage: { type: "open" },
    op: 1,
    sourceKey: "incoming/a+b.mov",
    key: originalKey(upload),
    sizeBytes: 1,
    sha256: null,
  },
  {
    ...base,
    type: "IngestOriginal",
    stage: { type: "open" },
    op: 1,
    url: "https://x.example/a",
    key: originalKey(upload),
    sizeBytes: 1,
    sha256: "0".repeat(64),
  },
  { ...base, type: "EnqueueTranscode", jobId: copy.jobId, generation: 1, priority: 50 },
  { ...copy, type: "CompleteUpload", key: archive.key, uploadId: "u", ...content(1) },
  { ...base, type: "AbortUpload", key: archive.key, uploadId: "u" },
  { ...copy, type: "RestoreArchive", stage: { type: "open" }, key: archive.key, from: r2, ...content(1) },
  { ...copy, type: "PlaceEdgeCopy", stage: { type: "open" }, rush: false, key: r2, source: archive },
  { ...copy, type: "RemoveEdgeCopy", key: r2, archive, keepIfPinned: true },
  { ...copy, type: "RemoveEdgeCopy", key: r2, archive: null, keepIfPinned: false },
  { ...copy, type: "PlaceEditorCopy", key: lucid, source: archive },
  { ...copy, type: "CheckEditorCopy", key: lucid, source: archive },
  { ...copy, type: "RemoveEditorCopy", key: lucid },
];

describe("commands", () => {
  test.each(commands)("$type survives the queue", (command) => {
    expect(Command.parse(JSON.parse(JSON.stringify(command)))).toEqual(command);
  });

  test("no R2 or LucidLink command can be made about an original", () => {
    const key = originalKey(upload);
    const aimed = commands.filter(({ type }) => /Edge|Editor/.test(type));
    expect(aimed).toHaveLength(6);
    for (const command of aimed) {
      expect(Command.safeParse({ ...command, key }).success).toBe(false);
      if ("source" in command) {
        expect(Command.safeParse({ ...command, source: { ...archive, key } }).success).toBe(false);
      }
    }
  });

  test("an op of 0, that of a step never asked for, is no command's", () => {
    expect(
      Command.safeParse({ ...copy, type: "PlaceEdgeCopy", stage: { type: "open" }, key: r2, source: archive, op: 0 })
        .success,
    ).toBe(false);
  });

  test("a job's priority chooses its queue", () => {
    const queues = [0, 50, 69, 70, 100].map((priority) => queueOf({ type: "EnqueueTranscode", priority }));
    expect(queues).toEqual(["transcode", "transcode", "transcode", "transcode-rush", "transcode-rush"]);
  });

  test("completions, aborts and what a viewer waits for have a queue of their own; bulk keeps off it", () => {
    const parts = ["ArchiveOriginal", "IngestOriginal", "RestoreArchive", "PlaceEdgeCopy"] as const;
    const bulk = parts.flatMap((type) => [
      queueOf({ type, stage: { type: "open" } }),
      queueOf({ type, stage: { type: "parts" }, rush: false }),
    ]);
    expect(bulk).not.toContain("urgent");
    const urgent = [
      ...parts.map((type) => queueOf({ type, stage: { type: "complete" } })),
      ...(["open", "parts"] as const).map((type) => queueOf({ type: "PlaceEdgeCopy", stage: { type }, rush: true })),
      ...(["CompleteUpload", "AbortUpload", "AbortEdgeUpload"] as const).map((type) => queueOf({ type })),
    ];
    expect(new Set(urgent)).toEqual(new Set(["urgent"]));
  });

  test("each goes to a queue, and each queue has its dead letters", () => {
    const types = Command.options.map(({ shape }) => shape.type.value);
    const queues = types.flatMap((type) =>
      type === "EnqueueTranscode" ? [50, 100].map((priority) => queueOf({ type, priority })) : queueOf({ type }),
    );
    expect(new Set(queues)).toEqual(new Set(QueueName.options));
    expect(deadLetterQueueOf("r2")).toBe("r2-dead");
  });
});

describe("upload declarations", () => {
  test.each([
    ["another field", { surprise: true }],
    ["no bytes", { sizeBytes: 0 }],
    ["too many bytes", { sizeBytes: 5 * 1024 ** 4 + 1 }],
    ["a client that is no slug", { clientName: "Acme Inc" }],
    ["a path as file name", { fileName: "../a.mov" }],
    ["a file URL", { source: { kind: "url", url: "file:///etc/passwd" } }],
    ["a checksum in upper case", { sha256: "A".repeat(64) }],
    ["a priority of 101", { priority: 101 }],
  ])("with %s are refused", (_what, change) => {
    expect(UploadDeclaration.safeParse(upload).success).toBe(true);
    expect(UploadDeclaration.safeParse({ ...upload, ...change }).success).toBe(false);
  });
});

test("every failure says what went wrong and what to do, in sentences", () => {
  for (const code of FailureCode.options) {
    const { title, advice } = failureFacts[code];
    expect(title, code).toMatch(/^[A-Z].*[^.]$/);
    expect(advice, code).toMatch(/^[A-Z].*\.$/);
  }
});
