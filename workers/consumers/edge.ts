/** PlaceEdgeCopy and RemoveEdgeCopy: proxies come to R2 from a verified Wasabi object, and leave only while it is safe. */
import type { ArchivedProxy, CommandOf } from "../../schemas/command.ts";
import { codeOf } from "../../schemas/failure-policy.ts";
import { type EdgeKey, parseProxyKey } from "../../schemas/key.ts";
import type { Quality } from "../../schemas/ladder.ts";
import type { MovedPart, StageOf } from "../../schemas/transfer.ts";
import { decisionNowMs } from "../stores/clock.ts";
import { noteEgress } from "../stores/egress.ts";
import { type PartRange, provePartList } from "../stores/part-digest.ts";
import { headEdge, removeEdge } from "../stores/r2.ts";
import {
  abortEdgeUpload,
  completeEdgeUpload,
  moveEdgePart,
  openEdgeUpload,
  placeWholeEdge,
} from "../stores/r2-place.ts";
import { projectPinOf } from "../stores/retention-policy.ts";
import { StoreFailure } from "../stores/store-failure.ts";
import { edgeTransferPartBytes, transferPart } from "../stores/transfer-part.ts";
import { answeredByDoor } from "./step-work.ts";
import { handOver, incomplete, moveParts, transferPlan } from "./transfer-work.ts";
import { type Facts, ToldFailure, type Workbench } from "./workbench.ts";

export async function placeEdgeCopy(command: CommandOf<"PlaceEdgeCopy">, bench: Workbench): Promise<Facts> {
  const { stage } = command;
  switch (stage.type) {
    case "open":
      return openCopy(command, bench);
    case "parts":
      return moveParts(stage, command.source.sizeBytes, bench, (part) => movePart(command, stage, bench, part));
    case "complete":
      return completeCopy(command, stage, bench);
  }
}

const placed = ({ source, op, quality, jobId }: CommandOf<"PlaceEdgeCopy">, etag: string): Facts => {
  const { sizeBytes, sha256 } = source;
  return [{ type: "CopyPlaced", tier: "r2", quality, jobId, op, sizeBytes, etag, sha256 }];
};

/** What fits into one part is put at once; for anything larger an upload is opened, and messages for its parts follow. */
async function openCopy(command: CommandOf<"PlaceEdgeCopy">, bench: Workbench): Promise<Facts> {
  const { env, door, config, signal } = bench;
  const { key, source, quality, jobId } = command;
  const { sizeBytes, sha256 } = source;
  const present = await headEdge(env.PROXIES, key);
  if (present?.sizeBytes === sizeBytes && present.sha256 === sha256.composite) return placed(command, present.etag);

  const digests = await answeredByDoor(door.partDigests(quality, jobId));
  await provePartList(digests, sizeBytes, sha256);
  const partSizeBytes = edgeTransferPartBytes(sizeBytes, sha256.partSizeBytes, config.policy.transferPartBytes);
  if (sizeBytes > partSizeBytes) return openParts(command, bench, partSizeBytes);
  const copy = await placeWholeEdge(env.PROXIES, {
    key,
    sizeBytes,
    sha256,
    partSha256: digests.map((part) => part.sha256),
    read: (range) => readArchive(command, bench, range),
    claim: () => bench.claim("place"),
    signal,
  });
  return placed(command, copy.etag);
}

async function openParts(
  { key, source }: CommandOf<"PlaceEdgeCopy">,
  bench: Workbench,
  partSizeBytes: number,
): Promise<Facts> {
  const { sizeBytes, sha256 } = source;
  const bucket = bench.env.PROXIES;
  const uploadId = await openEdgeUpload(bucket, key, sha256);
  const plan = transferPlan({ uploadId, sizeBytes, partSizeBytes });
  const isOurs = await handOver(bench, { tier: "r2", key, ...plan }).catch(async (error: unknown) => {
    await abortEdgeUpload(bucket, key, uploadId).catch(() => undefined);
    throw error;
  });
  if (!isOurs) await abortEdgeUpload(bucket, key, uploadId);
  return [];
}

async function movePart(
  command: CommandOf<"PlaceEdgeCopy">,
  { uploadId, partSizeBytes }: StageOf<"parts">,
  bench: Workbench,
  part: PartRange,
): Promise<MovedPart> {
  const { env, door, signal } = bench;
  const { key, quality, jobId, source } = command;
  const digestPartBytes = source.sha256.partSizeBytes;
  const { digests } = transferPart(part.n, { sizeBytes: source.sizeBytes, partSizeBytes, digestPartBytes });
  const range = { first: digests.from + 1, last: digests.to };
  const expected = await answeredByDoor(door.partDigests(quality, jobId, range));
  const { n, etag } = await moveEdgePart(env.PROXIES, {
    key,
    uploadId,
    part,
    digestPartBytes,
    expectedSha256: expected.map((each) => each.sha256),
    read: (wanted) => readArchive(command, bench, wanted),
    signal,
  });
  return { n, sizeBytes: part.sizeBytes, etag, md5: null, sha256: null };
}

async function completeCopy(
  command: CommandOf<"PlaceEdgeCopy">,
  { uploadId }: StageOf<"complete">,
  { env, door, claim }: Workbench,
): Promise<Facts> {
  const { key, source } = command;
  const { sizeBytes, sha256 } = source;
  const parts = await answeredByDoor(door.movedParts(uploadId));
  await claim("place");
  try {
    const copy = await completeEdgeUpload(env.PROXIES, { key, uploadId, parts, sizeBytes, sha256 });
    return placed(command, copy.etag);
  } catch (error) {
    throw incomplete(error);
  }
}

async function readArchive(
  { source, quality, jobId }: CommandOf<"PlaceEdgeCopy">,
  { wasabi, signal }: Workbench,
  { from, sizeBytes }: PartRange,
): Promise<ReadableStream<Uint8Array>> {
  const range = { from, to: from + sizeBytes - 1 };
  try {
    const { body } = await wasabi.getRange(source.key, { ...range, ifMatch: source.etag, signal });
    noteEgress("promotion", sizeBytes);
    return body;
  } catch (error) {
    throw withArchiveLoss(error, { quality, jobId });
  }
}

/**
 * A Wasabi proxy that is gone, or is another object, is reported to the asset, which restores it or has it encoded again;
 * until then the copy waits.
 */
function withArchiveLoss(error: unknown, rendition: { quality: Quality; jobId: string }): unknown {
  const isLoss = error instanceof StoreFailure && (error.code === "ETAG_MISMATCH" || error.code === "ORIGINAL_MISSING");
  if (!isLoss) return error;
  const waits = new StoreFailure("NOT_READY", error.message, { retryable: true });
  return new ToldFailure(waits, { facts: [{ type: "ArchiveLost", ...rendition, message: error.message }] });
}

/** Nothing leaves R2 unless its Wasabi object has just been seen whole, nor what its project's pin keeps. */
export async function removeEdgeCopy(command: CommandOf<"RemoveEdgeCopy">, bench: Workbench): Promise<Facts> {
  const { op, quality, jobId, key, archive } = command;
  await bench.claim("remove");
  if (archive === null) await proveUnwanted(command, bench);
  else await proveArchive(command, archive, bench);
  const about = { tier: "r2", quality, jobId, op } as const;
  // After Wasabi, which may take its time: the pin may come meanwhile.
  const kept = archive !== null && command.keepIfPinned ? await keptByPin(key, archive, bench) : null;
  if (kept !== null) return [{ type: "RemovalCalledOff", ...about, ...kept }];
  await removeEdge(bench.env.PROXIES, key);
  return [{ type: "CopyRemoved", ...about }];
}

/** @returns the copy, where it is there whole and its project is pinned; a pin does not bring back what is gone */
async function keptByPin(key: EdgeKey, archive: ArchivedProxy, { env }: Workbench) {
  const project = parseProxyKey(archive.key);
  if (project === null || (await pinOf(env, project)) === null) return null;
  const { sizeBytes, sha256 } = archive;
  const present = await headEdge(env.PROXIES, key);
  const isWhole = present?.sizeBytes === sizeBytes && present.sha256 === sha256.composite;
  return isWhole ? { sizeBytes, sha256, etag: present.etag } : null;
}

/** A catalogue that cannot say keeps everything where it is for now. */
function pinOf(env: Workbench["env"], project: { clientName: string; projectName: string }): Promise<string | null> {
  return projectPinOf(env.CATALOGUE, project, decisionNowMs(env)).catch((cause: unknown) => {
    if (cause instanceof StoreFailure) throw cause;
    throw new StoreFailure(codeOf("silence", "D1"), "The catalogue does not tell whether the project is pinned.", {
      cause,
    });
  });
}

/** Only a deleted asset, or a job that another has replaced, may lose a copy without its archive being looked at. */
async function proveUnwanted({ quality, jobId }: CommandOf<"RemoveEdgeCopy">, { door }: Workbench): Promise<void> {
  const asset = await answeredByDoor(door.view());
  const current = asset?.renditions.find((rendition) => rendition.quality === quality);
  const unwanted = asset === null || asset.state === "deleted" || current?.jobId !== jobId;
  if (!unwanted)
    throw new StoreFailure("NOT_READY", "The copy is still the asset's own, and its archive is not proven.");
}

async function proveArchive(
  { quality, jobId }: CommandOf<"RemoveEdgeCopy">,
  archive: NonNullable<CommandOf<"RemoveEdgeCopy">["archive"]>,
  { wasabi }: Workbench,
): Promise<void> {
  const found = await wasabi.head(archive.key);
  if (found?.etag === archive.etag && found.sizeBytes === archive.sizeBytes) return;
  const kept = (code: "ORIGINAL_MISSING" | "ETAG_MISMATCH", told: string) =>
    new StoreFailure(code, `The proxy stays on R2: ${told}`, { retryable: false });
  const why =
    found === null
      ? kept("ORIGINAL_MISSING", "it is gone from Wasabi.")
      : kept("ETAG_MISMATCH", "Wasabi holds another object at its key.");
  // Told after the failure: the copy is `placed` again by then, and the archive is restored from it.
  throw new ToldFailure(why, { facts: [{ type: "ArchiveLost", quality, jobId, message: why.message }] });
}
