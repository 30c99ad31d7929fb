import { expect, test } from "vitest";
import type { Asset, Rendition } from "../../schemas/asset.ts";
import type { Quality } from "../../schemas/ladder.ts";
import { choosePlayback } from "./choose-playback.ts";

function rendition(quality: Quality, status: Rendition["status"], edge: "placed" | "evicted" | null): Rendition {
  const none = {
    placedAt: null,
    verifiedAt: null,
    lastAccessAt: null,
    evictAfter: null,
    pinnedUntil: null,
    problem: null,
  };
  const copies = edge === null ? [] : [{ tier: "r2" as const, key: "k", status: edge, ...none }];
  return { quality, status, copies, jobId: "0".repeat(24) } as unknown as Rendition;
}

const chosen = (renditions: Rendition[], wanted?: Quality) =>
  choosePlayback({ renditions } as unknown as Asset, wanted)?.quality ?? null;

test.each([
  [
    "the best on R2, though better ones are archived",
    [
      rendition("360p", "archived", "placed"),
      rendition("540p", "archived", "placed"),
      rendition("1080p", "archived", null),
    ],
    "540p",
  ],
  [
    "the best archived up to 1080p when R2 holds none",
    [
      rendition("360p", "archived", "evicted"),
      rendition("1080p", "archived", null),
      rendition("2160p", "archived", null),
    ],
    "1080p",
  ],
  [
    "1080p archived before 2160p on R2",
    [rendition("1080p", "archived", null), rendition("2160p", "archived", "placed")],
    "1080p",
  ],
  ["2160p when there is nothing else", [rendition("2160p", "archived", null)], "2160p"],
  ["what R2 still holds while the archive is restored", [rendition("360p", "missing", "placed")], "360p"],
  ["nothing that is not archived yet", [rendition("360p", "uploaded", null)], null],
] as const)("plays %s", (_name, renditions, quality) => {
  expect(chosen([...renditions])).toBe(quality);
});

test("a quality that is asked for is that one or none", () => {
  const renditions = [rendition("360p", "archived", "placed"), rendition("720p", "encoding", null)];
  expect(chosen(renditions, "360p")).toBe("360p");
  expect(chosen(renditions, "720p")).toBeNull();
  expect(chosen(renditions, "2160p")).toBeNull();
});
