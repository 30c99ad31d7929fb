/** One asset to try things on: its declaration, its source, the bytes of its renditions. */
import type { CompositeSha256 } from "../../schemas/checksum.ts";
import type { UploadDeclaration } from "../../schemas/event.ts";
import type { SourceProbe } from "../../schemas/media-probe.ts";
import { lasting, pictureOf, prores, sourceProbe } from "../../schemas/source-probe-sample.ts";

export const upload: UploadDeclaration = {
  fileId: "507f1f77bcf86cd799439011",
  clientName: "acme",
  projectName: "spring-campaign",
  fileName: "A001_C002.mov",
  sizeBytes: 1_000_000_000,
  source: { kind: "wasabi", key: "originals/acme/spring-campaign/507f1f77bcf86cd799439011/A001_C002.mov" },
};

/** 16:9 at this height: 1080 gives 360p, 540p, 720p and 1080p. */
export function probe(height: number): SourceProbe {
  const width = Math.round((height * 16) / 9 / 2) * 2;
  return sourceProbe({ ...lasting(20), ...pictureOf(width, height), ...prores });
}

/** The bytes of one file, by what proves them. Two of different serials differ in size and checksum. */
export interface Content {
  readonly sizeBytes: number;
  readonly sha256: CompositeSha256;
}

export function content(serial: number): Content {
  const digest = serial.toString(16).padStart(64, "0");
  return {
    sizeBytes: 1_000_000 + serial,
    sha256: { partSizeBytes: 8 * 1024 * 1024, parts: 1, composite: digest },
  };
}

/** How an object of some parts is cut; every other one moves in order. */
export function planOf(serial: number, parts: number, uploadId: string) {
  const midstate = serial % 2 === 0 ? "0".repeat(64) : null;
  return {
    uploadId,
    sizeBytes: parts,
    partSizeBytes: 1,
    parts,
    partsPerMessage: 1 + (serial % 4),
    pin: null,
    midstate,
  };
}
