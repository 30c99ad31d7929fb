/** Everything that an MP4's moov says, box by box, and the bytes of every sample that it points at. */
import { createHash } from "node:crypto";
import { type Box, child, children, FieldReader } from "../mp4/box.ts";

const CONTAINERS = new Set(["moov", "trak", "edts", "mdia", "minf", "dinf", "stbl", "udta", "tref", "gmhd"]);
/** Where samples lie. Two files with the same samples may place them differently; `sampleHashes` looks them up instead. */
const PLACEMENT = new Set(["stsc", "stco", "co64"]);

/** Path → body in hex of each box that holds no others: "trak.1.mdia.minf.stbl.stts". */
export function movieBoxes(file: Uint8Array): Map<string, string> {
  const found = new Map<string, string>();
  const walk = (boxes: Box[], path: string) => {
    const seen = new Map<string, number>();
    for (const { type, body } of boxes) {
      const index = seen.get(type) ?? 0;
      seen.set(type, index + 1);
      const here = type === "trak" ? `${path}${type}.${index}` : `${path}${type}${index > 0 ? `[${index}]` : ""}`;
      if (CONTAINERS.has(type)) walk(children(body), `${here}.`);
      else if (!PLACEMENT.has(type)) found.set(here, Buffer.from(body).toString("hex"));
    }
  };
  walk(children(child(children(file), "moov").body), "");
  return found;
}

/** MD5 of each sample's bytes, by track. */
export function sampleHashes(file: Uint8Array): string[][] {
  const traks = children(child(children(file), "moov").body).filter(({ type }) => type === "trak");
  return traks.map((trak) => samplesOf(file, trak).map((bytes) => createHash("md5").update(bytes).digest("hex")));
}

function samplesOf(file: Uint8Array, trak: Box): Uint8Array[] {
  const inside = (box: Box, type: string) => child(children(box.body), type);
  const stbl = children(inside(inside(inside(trak, "mdia"), "minf"), "stbl").body);
  const sizes = sampleSizes(child(stbl, "stsz"));
  const perChunk = samplesPerChunk(child(stbl, "stsc"));
  const samples: Uint8Array[] = [];
  for (const [chunk, offset] of chunkOffsets(stbl).entries()) {
    let at = offset;
    for (let left = perChunk(chunk + 1); left > 0; left--) {
      const size = sizes[samples.length] ?? 0;
      samples.push(file.subarray(at, at + size));
      at += size;
    }
  }
  return samples;
}

function sampleSizes(stsz: Box): number[] {
  const fields = new FieldReader(stsz.body);
  fields.skip(4);
  const uniform = fields.u32();
  return Array.from({ length: fields.u32() }, () => uniform || fields.u32());
}

function chunkOffsets(stbl: Box[]): number[] {
  const wide = stbl.some(({ type }) => type === "co64");
  const fields = new FieldReader(child(stbl, wide ? "co64" : "stco").body);
  fields.skip(4);
  return Array.from({ length: fields.u32() }, () => (wide ? fields.u64() : fields.u32()));
}

function samplesPerChunk(stsc: Box): (chunk: number) => number {
  const fields = new FieldReader(stsc.body);
  fields.skip(4);
  const entries = Array.from({ length: fields.u32() }, () => {
    const [firstChunk, samples] = [fields.u32(), fields.u32()];
    fields.skip(4);
    return { firstChunk, samples };
  });
  return (chunk) => entries.findLast(({ firstChunk }) => firstChunk <= chunk)?.samples ?? 0;
}
