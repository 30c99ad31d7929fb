import { stripVTControlCharacters } from "node:util";
import { expect, test } from "vitest";
import type { Asset } from "../schemas/asset.ts";
import { reportFile } from "./demo-report.ts";
import { newFileState } from "./demo-state.ts";

const key = `originals/demo/first-cut/6b04c9651bdec86c4d2f9924/${"a-long-name-".repeat(12)}.mov`;
const url = "http://127.0.0.1:8787/proxies/36356f51d84b4f20d26c8c39/360p.mp4?sig=x";
const at = "2026-11-23T23:00:00.000Z";

const fresh = newFileState({ fileId: "6b04c9651bdec86c4d2f9924", fileName: "a.mov", sizeBytes: 1_000 }, 0);
const original: Asset["original"] = { tier: "wasabi", key, sizeBytes: 1_000, etag: "e", verifiedAt: at };
const file = {
  state: { ...fresh, asset: { original, renditions: [] as Asset["renditions"] } as Asset },
  proofs: [{ quality: "360p", url, servedFrom: "r2", sizeBytes: 500, frames: 50, equalTo: "source" as const }],
};

const report = (columns: number, stackEnds: boolean) =>
  stripVTControlCharacters(reportFile(file, { columns, stackEnds }).join("\n"));

test("a key is shortened for a terminal that is too narrow, and whole where the output is none", () => {
  expect(report(80, false)).not.toContain(key);
  expect(report(Number.POSITIVE_INFINITY, false)).toContain(key);
});

test("delivery URLs are told only where they go on working", () => {
  expect(report(80, false)).toContain(url);
  const ending = report(80, true);
  expect(ending).not.toContain(url);
  expect(ending).toContain("Read back: 360p from r2. The delivery URLs end with the stack; --keep leaves it up.");
});
