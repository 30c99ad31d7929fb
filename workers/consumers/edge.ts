/** PlaceEdgeCopy and RemoveEdgeCopy: proxies come to R2 from a verified Wasabi object, and leave only while it is safe. */
import type { CommandOf } from "../../schemas/command.ts";
import type { Quality } from "../../schemas/ladder.ts";
import { provePartList } from "../stores/part-digest.ts";
import { headEdge, removeEdge } from "../stores/r2.ts";
import { placeEdge } from "../stores/r2-place.ts";
import { StoreFailure } from "../stores/store-failure.ts";
import { answeredByDoor } from "./step-work.ts";
import { type Facts, FailureWithFact, type Workbench } from "./workbench.ts";

export async function placeEdgeCopy(command: CommandOf<"PlaceEdgeCopy">, bench: Workbench): Promise<Facts> {
  const { env, door, signal } = bench;
  const { key, source, op, quality, jobId } = command;
  const { sizeBytes, sha256 } = source;
  const placed = (etag: string): Facts => [
    { type: "CopyPlaced", tier: "r2", quality, jobId, op, sizeBytes, etag, sha256 },
  ];
  const present = await headEdge(env.PROXIES, key);
  if (present?.sizeBytes === sizeBytes && present.sha256 === sha256.composite) return placed(present.etag);

  const parts = await answeredByDoor(door.partDigests(quality, jobId));
  await provePartList(parts, sizeBytes, sha256);
  const copy = await placeEdge(env.PROXIES, {
    key,
    sizeBytes,
    sha256,
    partSha256: parts.map((part) => part.sha256),
    read: ({ from, sizeBytes: length }) => readArchive(command, bench, { from, to: from + length - 1 }),
    claim: () => bench.claim("place"),
    signal,
  });
  return placed(copy.etag);
}

async function readArchive(
  { source, quality, jobId }: CommandOf<"PlaceEdgeCopy">,
  { wasabi, signal }: Workbench,
  range: { from: number; to: number },
): Promise<ReadableStream<Uint8Array>> {
  try {
    return (await wasabi.getRange(source.key, { ...range, ifMatch: source.etag, signal })).body;
  } catch (error) {
    throw await withArchiveLoss(error, source.key, { quality, jobId }, wasabi);
  }
}

/**
 * A Wasabi proxy that is gone, or is another object, is told to the asset, which restores it or has it encoded again;
 * until then the copy waits. A 404 counts only when S3 itself names the key: a wrong bucket answers 404 too.
 */
async function withArchiveLoss(
  error: unknown,
  key: string,
  rendition: { quality: Quality; jobId: string },
  wasabi: Workbench["wasabi"],
): Promise<unknown> {
  if (!(error instanceof StoreFailure)) return error;
  const lost =
    error.code === "ETAG_MISMATCH" || (error.code === "ORIGINAL_MISSING" && (await wasabi.isProvenMissing(key)));
  const waits = new StoreFailure(lost ? "NOT_READY" : "WASABI_UNAVAILABLE", error.message, { retryable: true });
  if (!lost) return error.code === "ORIGINAL_MISSING" ? waits : error;
  return new FailureWithFact(waits, { type: "ArchiveLost", ...rendition, message: error.message });
}

/** Nothing leaves R2 unless its Wasabi object has just been seen whole. */
export async function removeEdgeCopy(command: CommandOf<"RemoveEdgeCopy">, bench: Workbench): Promise<Facts> {
  const { op, quality, jobId, key } = command;
  await bench.claim("remove");
  if (command.archive === null) await proveUnwanted(command, bench);
  else await proveArchive(command, command.archive, bench);
  await removeEdge(bench.env.PROXIES, key);
  return [{ type: "CopyRemoved", tier: "r2", quality, jobId, op }];
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
  const kept = (code: "ORIGINAL_MISSING" | "ETAG_MISMATCH" | "WASABI_UNAVAILABLE", told: string, retryable: boolean) =>
    new StoreFailure(code, `The proxy stays on R2: ${told}`, { retryable });
  if (found === null && !(await wasabi.isProvenMissing(archive.key))) {
    throw kept("WASABI_UNAVAILABLE", "Wasabi does not show it, and does not say that it is gone.", true);
  }
  const why =
    found === null
      ? kept("ORIGINAL_MISSING", "it is gone from Wasabi.", false)
      : kept("ETAG_MISMATCH", "Wasabi holds another object at its key.", false);
  // Told after the failure: the copy is `placed` again by then, and the archive is restored from it.
  throw new FailureWithFact(why, { type: "ArchiveLost", quality, jobId, message: why.message });
}
