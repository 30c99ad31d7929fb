/** ArchiveOriginal: the original lies in the bucket. Proves it at its canonical key, or copies it there server-side. */
import type { CommandOf } from "../../schemas/command.ts";
import { StoreFailure } from "../stores/store-failure.ts";
import { type ArchivedObject, largestSingleCopyBytes } from "../stores/wasabi-object.ts";
import { copyByParts } from "./copy-by-parts.ts";
import type { Facts, Workbench } from "./workbench.ts";

export async function archiveOriginal(command: CommandOf<"ArchiveOriginal">, bench: Workbench): Promise<Facts> {
  const inPlace = await bench.wasabi.head(command.key);
  // As a string: the two keys are of different brands exactly when they differ.
  const sourceKey: string = command.sourceKey;
  if (sourceKey === command.key) return [archived(command, proven(command, inPlace))];
  if (inPlace?.sizeBytes === command.sizeBytes) return [archived(command, inPlace)];
  return [archived(command, await copyIntoPlace(command, bench))];
}

/** Bracketed by HEADs: the source is the announced file before the copy, and the copy is whole after it. */
async function copyIntoPlace(command: CommandOf<"ArchiveOriginal">, bench: Workbench) {
  const { wasabi, claim } = bench;
  const source = { key: command.sourceKey, ...proven(command, await wasabi.head(command.sourceKey)) };
  if (source.sizeBytes > largestSingleCopyBytes) {
    await copyByParts(source, command, bench);
  } else {
    await claim("complete");
    await wasabi.copy(source, command.key);
  }
  const copy = await wasabi.head(command.key);
  if (copy === null || copy.sizeBytes !== source.sizeBytes) {
    throw new StoreFailure("WASABI_UNAVAILABLE", "The server-side copy is not there in full.");
  }
  return copy;
}

function proven(command: CommandOf<"ArchiveOriginal">, found: ArchivedObject | null): ArchivedObject {
  if (found === null) throw new StoreFailure("ORIGINAL_MISSING", "There is no original at the announced key yet.");
  if (found.sizeBytes !== command.sizeBytes) {
    const told = `The original has ${found.sizeBytes} bytes, announced were ${command.sizeBytes}.`;
    throw new StoreFailure("SIZE_MISMATCH", told);
  }
  return found;
}

function archived({ op, key }: CommandOf<"ArchiveOriginal">, { sizeBytes, etag }: ArchivedObject): Facts[number] {
  return { type: "OriginalArchived", op, key, sizeBytes, etag, sha256: null };
}
