/** The work of the storage commands on a real S3 and a real R2; only the object's answers are scripted. */
import { afterEach, describe, expect, test, vi } from "vitest";
import type { CommandOf } from "../../schemas/command.ts";
import { edgeKey } from "../../schemas/key.ts";
import {
  bench,
  config,
  content,
  env,
  hash,
  jobId,
  notedUploads,
  partSizeBytes,
  putOriginal,
  quality,
  type Rendition,
  run,
  runStages,
  smallParts,
  uploadedRendition,
  wasabi,
} from "../../test/consumer-bench-worker.ts";
import { forgetUpload } from "../stores/open-upload.ts";
import { hexOf } from "../stores/part-digest.ts";
import { headEdge } from "../stores/r2.ts";
import { changeProjectPin } from "../stores/retention-policy.ts";
import { wasabiStore } from "../stores/wasabi.ts";
import { abortUpload, completeUpload } from "./complete.ts";
import { placeEdgeCopy, removeEdgeCopy } from "./edge.ts";
import { restoreArchive } from "./restore.ts";

const completeCommand = (made: Rendition): CommandOf<"CompleteUpload"> => ({
  type: "CompleteUpload",
  id: `${made.fileId}:1:0`,
  op: 1,
  quality,
  jobId,
  sizeBytes: made.bytes.length,
  fileId: made.fileId,
  key: made.key,
  uploadId: made.uploadId,
  sha256: made.sha256,
});

async function archivedRendition(sizeBytes?: number): Promise<Rendition> {
  const made = await uploadedRendition(sizeBytes);
  await wasabi.completeMultipart(made.key, made.uploadId, made.parts);
  return made;
}

const archiveOf = ({ key, etag, bytes, sha256 }: Rendition) => ({ key, etag, sizeBytes: bytes.length, sha256 });

test("an upload is completed and proven; a second try that finds it done reports the same", async () => {
  const made = await uploadedRendition();
  const expected = { type: "RenditionArchived", quality, jobId, op: 1, etag: made.etag, sizeBytes: made.bytes.length };
  for (let attempt = 0; attempt < 2; attempt++) {
    const { facts, calls } = await run(completeCommand(made), completeUpload, { parts: made.parts });
    expect(facts).toEqual([expected]);
    expect(calls).toContain("claim complete");
  }
});

test("an upload whose parts do not add up is not completed", async () => {
  const made = await uploadedRendition();
  const [first, second] = made.parts;
  if (!first || !second) throw new Error("two parts are expected");
  const parts = [first, { ...second, sha256: first.sha256 }];
  const { facts } = await run(completeCommand(made), completeUpload, { parts });
  expect(facts).toMatchObject([{ type: "StepDeferred", code: "CHECKSUM_MISMATCH" }]);
  expect(await wasabi.head(made.key)).toBeNull();
});

test("an upload that is gone without its object is lost", async () => {
  const made = await uploadedRendition();
  const abort = { type: "AbortUpload", id: "x", fileId: made.fileId, key: made.key, uploadId: made.uploadId } as const;
  await abortUpload(abort, bench);
  await abortUpload(abort, bench);
  const { facts } = await run(completeCommand(made), completeUpload, { parts: made.parts });
  expect(facts).toMatchObject([{ type: "StepFailed", code: "UPLOAD_LOST" }]);
});

test("nothing is completed without the key", async () => {
  const made = await uploadedRendition();
  const busy = await run(completeCommand(made), completeUpload, {
    parts: made.parts,
    claim: { granted: false, reason: "busy", retryAfterMs: 1234 },
  });
  expect(busy.facts).toMatchObject([{ type: "StepDeferred", code: "NOT_READY", retryAfterMs: 1234 }]);
  expect(busy.keys).toEqual([`${made.fileId}:1:0:m1:1`]);
  const stale = await run(completeCommand(made), completeUpload, {
    parts: made.parts,
    claim: { granted: false, reason: "stale" },
  });
  expect(stale.facts).toEqual([]);
  const unwanted = await run(completeCommand(made), completeUpload, { begin: { go: false, reason: "cancelled" } });
  expect(unwanted.facts).toEqual([]);
  expect(await wasabi.head(made.key)).toBeNull();
});

test("a bug is thrown, for the queue to deliver again, and is told to nobody", async () => {
  const made = await uploadedRendition();
  const broken = () => Promise.reject(new TypeError("x is not a function"));
  await expect(run(completeCommand(made), broken)).rejects.toThrow("x is not a function");
});

const placeCommand = (made: Rendition): CommandOf<"PlaceEdgeCopy"> => ({
  type: "PlaceEdgeCopy",
  stage: { type: "open" },
  rush: false,
  id: `${made.fileId}:2:0`,
  op: 2,
  fileId: made.fileId,
  quality,
  jobId: hexOf(new TextEncoder().encode(made.fileId.slice(-12))),
  key: edgeKey(hexOf(new TextEncoder().encode(made.fileId.slice(-12))), quality),
  source: archiveOf(made),
});

const removeCommand = ({ source, stage: _, ...about }: CommandOf<"PlaceEdgeCopy">): CommandOf<"RemoveEdgeCopy"> => ({
  ...about,
  type: "RemoveEdgeCopy",
  archive: source,
  keepIfPinned: true,
});

test("a copy comes to R2 part by part, is found there by a second try, and leaves while its archive is whole", async () => {
  const made = await archivedRendition();
  const place = placeCommand(made);
  const first = await run(place, placeEdgeCopy, { parts: made.parts });
  expect(first.facts).toMatchObject([{ type: "CopyPlaced", sizeBytes: made.bytes.length, sha256: made.sha256 }]);
  expect(first.calls).toContain("claim place");
  const again = await run(place, placeEdgeCopy);
  expect(again.facts).toEqual(first.facts);
  expect(again.calls).not.toContain("claim place");

  const remove = removeCommand(place);
  for (let attempt = 0; attempt < 2; attempt++) {
    expect((await run(remove, removeEdgeCopy)).facts).toMatchObject([{ type: "CopyRemoved", op: 2 }]);
    expect(await headEdge(env.PROXIES, place.key)).toBeNull();
  }
});

test("a large copy comes to R2 in parts, several messages, one completion; what is wrong in Wasabi never gets there", async () => {
  const made = await archivedRendition(partSizeBytes * 8 + 77);
  const place = placeCommand(made);
  const wrong = await runStages(
    place,
    placeEdgeCopy,
    { parts: made.parts.map((part, i) => (i === 1 ? { ...part, sha256: "0".repeat(64) } : part)) },
    smallParts,
  );
  expect(wrong.facts).toMatchObject([{ type: "StepDeferred", code: "CHECKSUM_MISMATCH" }]);

  const { facts, calls, plan } = await runStages(place, placeEdgeCopy, { parts: made.parts }, smallParts);
  expect(plan).toMatchObject({ tier: "r2", parts: 9, partsPerMessage: 8 });
  expect(facts.map(({ type }) => type)).toEqual(["PartsMoved", "PartsMoved", "CopyPlaced"]);
  expect(calls.filter((call) => call === "claim place")).toHaveLength(1);
  const object = await env.PROXIES.get(place.key);
  expect(await hash("SHA-256", new Uint8Array(await (object as R2ObjectBody).arrayBuffer()))).toBe(
    await hash("SHA-256", made.bytes),
  );
});

test("nothing leaves R2 while its archive is gone or another object, and the loss is told", async () => {
  const made = await archivedRendition();
  const place = placeCommand(made);
  await run(place, placeEdgeCopy, { parts: made.parts });
  const remove = removeCommand(place);

  await putOriginal(made.key, content(10));
  const replaced = await run(remove, removeEdgeCopy);
  expect(replaced.facts).toMatchObject([{ type: "StepFailed", code: "ETAG_MISMATCH" }, { type: "ArchiveLost" }]);
  await wasabi.remove(made.key);
  const gone = await run(remove, removeEdgeCopy);
  expect(gone.facts).toMatchObject([{ type: "StepFailed", code: "ORIGINAL_MISSING" }, { type: "ArchiveLost" }]);
  const unnamed = await run({ ...remove, archive: null }, removeEdgeCopy, {
    view: async () => ({ state: "distributed", renditions: [{ quality, jobId: place.jobId }] }) as never,
  });
  expect(unnamed.facts).toMatchObject([{ type: "StepDeferred", code: "NOT_READY" }]);
  expect((await headEdge(env.PROXIES, place.key))?.sizeBytes).toBe(made.bytes.length);

  const restore: CommandOf<"RestoreArchive"> = {
    type: "RestoreArchive",
    stage: { type: "open" },
    id: `${made.fileId}:3:0`,
    op: 3,
    fileId: made.fileId,
    quality,
    jobId: place.jobId,
    key: made.key,
    from: place.key,
    sizeBytes: made.bytes.length,
    sha256: made.sha256,
  };
  const restored = await runStages(restore, restoreArchive, { parts: made.parts });
  expect(restored.facts).toMatchObject([
    { type: "PartsMoved", parts: [{ n: 1 }, { n: 2 }] },
    { type: "RenditionArchived", etag: made.etag },
  ]);
  expect((await run(restore, restoreArchive, { parts: made.parts })).facts).toMatchObject([
    { type: "RenditionArchived", etag: made.etag },
  ]);
  expect(await wasabi.head(made.key)).toEqual({ sizeBytes: made.bytes.length, etag: made.etag });
  expect(await env.CATALOGUE.prepare("SELECT count(*) AS n FROM open_uploads").first("n")).toBe(0);
});

describe("a removal under way when its project is pinned", () => {
  const pinnedFilm = async (change: (pinnedUntilMs: number) => number) => {
    const at = new Date().toISOString();
    const pinnedUntil = new Date(change(Date.now())).toISOString();
    const project = { clientName: "acme", projectName: "film" };
    const line = { at, by: "test", action: "project.pinned", ...project, fileId: null, detail: {} };
    await changeProjectPin(env.CATALOGUE, { ...project, pinnedUntil }, line);
  };
  afterEach(() => env.CATALOGUE.prepare("DELETE FROM project_pins").run());

  async function placedCopy() {
    const made = await archivedRendition();
    const place = placeCommand(made);
    await run(place, placeEdgeCopy, { parts: made.parts });
    return { made, place, remove: removeCommand(place) };
  }

  test("is called off with the proof that the copy is there", async () => {
    const { made, place, remove } = await placedCopy();
    await pinnedFilm((nowMs) => nowMs + 60_000);
    const { facts } = await run(remove, removeEdgeCopy);
    const present = await headEdge(env.PROXIES, place.key);
    expect(present?.sizeBytes).toBe(made.bytes.length);
    const { jobId: ofCopy, op } = place;
    const proof = { sizeBytes: made.bytes.length, etag: present?.etag, sha256: made.sha256 };
    expect(facts).toEqual([{ type: "RemovalCalledOff", tier: "r2", quality, jobId: ofCopy, op, ...proof }]);
  });

  test.each<[string, (given: Awaited<ReturnType<typeof placedCopy>>) => Promise<CommandOf<"RemoveEdgeCopy">>]>([
    [
      "that is over",
      async ({ remove }) => {
        await pinnedFilm((nowMs) => nowMs - 1);
        return remove;
      },
    ],
    ["of another's bytes", async ({ remove }) => ({ ...remove, keepIfPinned: false })],
    [
      "that came too late",
      async ({ place, remove }) => {
        await env.PROXIES.delete(place.key);
        return remove;
      },
    ],
  ])("goes on under a pin %s", async (_which, given) => {
    await pinnedFilm((nowMs) => nowMs + 60_000);
    const placed = await placedCopy();
    expect((await run(await given(placed), removeEdgeCopy)).facts).toMatchObject([{ type: "CopyRemoved" }]);
    expect(await headEdge(env.PROXIES, placed.place.key)).toBeNull();
  });

  test("waits while the catalogue does not tell", async () => {
    const { place, remove } = await placedCopy();
    const away = vi.spyOn(env.CATALOGUE, "prepare").mockImplementation(() => {
      throw new Error("D1 is away");
    });
    const { facts } = await run(remove, removeEdgeCopy);
    away.mockRestore();
    expect(facts).toMatchObject([{ type: "StepDeferred", code: "UNAVAILABLE" }]);
    expect(await headEdge(env.PROXIES, place.key)).not.toBeNull();
  });
});

test("a copy is not made from another object, and the loss is told", async () => {
  const made = await archivedRendition();
  await putOriginal(made.key, content(made.bytes.length - 1));
  const { facts } = await run(placeCommand(made), placeEdgeCopy, { parts: made.parts });
  expect(facts).toMatchObject([{ type: "StepDeferred", code: "NOT_READY" }, { type: "ArchiveLost" }]);
  expect(await headEdge(env.PROXIES, placeCommand(made).key)).toBeNull();
});

test("an upload that Wasabi does not abort in time is noted, so that its parts are not billed for ever", async () => {
  const { fileId, key, uploadId } = await uploadedRendition();
  const away = wasabiStore({ ...config.wasabi, endpoint: "http://127.0.0.1:9" });
  await abortUpload({ type: "AbortUpload", id: "x", fileId, key, uploadId }, { env, wasabi: away });
  expect(await notedUploads(key)).toEqual([{ uploadId, key, fileId }]);
  await forgetUpload(env.CATALOGUE, uploadId);
});
