/** Every source of the table, made by ffmpeg and put through a whole job: what must come out, or what is told. */
import { readFile } from "node:fs/promises";
import { beforeAll, describe, expect, test } from "vitest";
import type { Quality } from "../../schemas/ladder.ts";
import type { SourceProbe } from "../../schemas/media-probe.ts";
import type { SourceDamage } from "../../schemas/source-damage.ts";
import { writeHdrCube } from "./hdr-cube-file.ts";
import { children } from "./mp4/box.ts";
import { hdrFilters } from "./picture-graph.ts";
import type { AcceptedSource } from "./testing/accepted-source.ts";
import { damagedSources } from "./testing/damaged-source.ts";
import { lacking } from "./testing/ffmpeg-ability.ts";
import { clip, make, qualities, useJobBench } from "./testing/job-bench.ts";
import { oddPictureSources } from "./testing/odd-picture-source.ts";
import { oddSoundSources } from "./testing/odd-sound-source.ts";
import { oddTimeSources } from "./testing/odd-time-source.ts";
import { pictureSources } from "./testing/picture-source.ts";
import { refusedSources } from "./testing/refused-source.ts";
import { listenTo, lookAt, type Means, meansOf, type RenditionLook } from "./testing/rendition-look.ts";
import { soundSources, TONES } from "./testing/sound-source.ts";
import { bt709, card } from "./testing/source-file.ts";
import { makeSource } from "./testing/source-maker.ts";

useJobBench();

const folder = () => clip("");
let reference: Means;

beforeAll(async () => {
  const filter = /-vf (\S+)/.exec(bt709())?.[1];
  reference = await meansOf(card().split(" "), filter);
});

describe.each([
  ...pictureSources,
  ...oddPictureSources,
  ...oddTimeSources,
  ...soundSources,
  ...oddSoundSources,
  ...damagedSources,
])("$title", ({ sources }) => {
  test.for(sources)("$name", async (source, { skip }) => {
    const reason = await lacking(source.needs ?? []);
    skip(reason !== null, reason ?? "");
    const file = await makeSource(source.steps, folder());
    const made = await make(file);
    expect(qualities(made)).toEqual(Object.keys(source.renditions));
    checkDamage(source.damage ?? [], made.source?.damage ?? []);
    const looks = new Map<Quality, RenditionLook>();
    for (const [quality, rendition] of made.files) looks.set(quality, await lookAt(rendition));
    for (const [quality, look] of looks) checkTracks(source, look, source.renditions[quality] ?? "");
    const keyframes = [...looks.values()].map(({ keyframeSeconds }) => keyframeSeconds);
    for (const each of keyframes) expect(each).toEqual(keyframes[0]);
    for (const rendition of made.files.values()) {
      const boxes = children(await readFile(rendition)).map(({ type }) => type);
      expect(boxes.filter((type) => type !== "free")).toEqual(["ftyp", "moov", "mdat"]);
    }
    const lowest = made.files.get("360p") ?? "";
    const seen = await meansOf(["-i", lowest], source.combs ? "transpose" : "null");
    checkColour(source, seen);
    if (made.source?.hdr) checkMapped(seen, await mappedAlone(file, made.source, source.renditions["360p"] ?? ""));
    if (source.sound) await checkSound(source.sound, lowest);
  });
});

function checkDamage(expected: readonly SourceDamage[], told: readonly SourceDamage[]): void {
  expect(told.map(({ what }) => what)).toEqual(expected.map(({ what }) => what));
  for (const [i, { fromSeconds, toSeconds }] of expected.entries()) {
    const span = told[i] ?? { fromSeconds: 0, toSeconds: 0 };
    expect(Math.abs(span.fromSeconds - fromSeconds), `from ${span.fromSeconds} to ${span.toSeconds} s`).toBeLessThan(
      0.5,
    );
    expect(Math.abs(span.toSeconds - toSeconds), `from ${span.fromSeconds} to ${span.toSeconds} s`).toBeLessThan(0.5);
  }
}

function checkTracks(source: AcceptedSource, look: RenditionLook, size: string): void {
  const { video, audio, frames, seconds } = look;
  const [num, den] = source.fps.split("/").map(Number);
  const frameSeconds = (den ?? 1) / (num ?? 1);
  expect(`${video?.width}x${video?.height}`).toBe(size);
  expect(video).toMatchObject({
    ...{ codec_name: "h264", pix_fmt: "yuv420p", sample_aspect_ratio: "1:1", field_order: "progressive" },
    ...{ color_range: "tv", color_space: "bt709", color_primaries: "bt709", color_transfer: "bt709" },
    ...{ r_frame_rate: source.fps, start_time: "0.000000" },
  });
  expect(video?.side_data_list).toBeUndefined();
  expect(frames).toBe(source.frames);
  const late = look.shownSeconds.filter((at, n) => Math.abs(at - n * frameSeconds) > 0.001);
  expect(late).toEqual([]);
  expect(Math.abs(seconds - (source.seconds ?? source.frames * frameSeconds))).toBeLessThan(0.06);
  const turningPoints = [...look.keyframeSeconds, frames * frameSeconds];
  expect(turningPoints[0]).toBe(0);
  for (const [i, at] of turningPoints.slice(1).entries()) expect(at - (turningPoints[i] ?? 0)).toBeLessThan(2.01);
  expect(look.chapters).toBe(0);
  expect(look.timecode).toBe(source.timecode);
  expect(look.tracks).toBe(1 + (source.sound ? 1 : 0) + (source.timecode ? 1 : 0));
  if (source.sound) expect(audio).toMatchObject({ codec_name: "aac", channels: 2, sample_rate: "48000" });
}

/** Every source shows the same card, so each rendition's means must be the card's. */
function checkColour(source: AcceptedSource, seen: Means): void {
  expect(seen.interlaced).toBeLessThanOrEqual(source.frames * 0.2);
  if (source.colour === "unchecked") return;
  if (source.colour === "grey") {
    for (const key of ["y", "yLow", "yHigh"] as const)
      expect(Math.abs(seen[key] - reference[key]), key).toBeLessThan(3);
    for (const key of ["u", "v"] as const) expect(Math.abs(seen[key] - 128), key).toBeLessThan(1);
    return;
  }
  if (source.colour !== "tone-mapped") {
    for (const key of ["y", "u", "v"] as const) expect(Math.abs(seen[key] - reference[key]), key).toBeLessThan(3);
    return;
  }
  // Shown as it is, HLG's darkest tenth is 28 above the card's, PQ's more, and both have less than half of its saturation.
  // libplacebo's picture of HLG is 5 above, with 0.70 of the saturation.
  expect(Math.abs(seen.yLow - reference.yLow)).toBeLessThan(18);
  for (const [key, least] of [
    ["y", 0.7],
    ["yHigh", 0.7],
    ["saturation", 0.66],
  ] as const) {
    expect(seen[key] / reference[key], key).toBeGreaterThan(least);
    expect(seen[key] / reference[key], key).toBeLessThan(1.08);
  }
}

/** What the table alone makes of the source: nothing before or after it may change a colour. */
async function mappedAlone(file: string, source: SourceProbe, size: string): Promise<Means> {
  const [width = 0, height = 0] = size.split("x").map(Number);
  const cube = await writeHdrCube(source.hdr ?? "pq", folder());
  return await meansOf(["-i", file], hdrFilters(source, { width, height }, cube).join(","));
}

function checkMapped(seen: Means, mapped: Means): void {
  for (const key of ["y", "u", "v", "yLow", "yHigh", "saturation"] as const)
    expect(Math.abs(seen[key] - mapped[key]), key).toBeLessThan(2);
}

async function checkSound(sound: NonNullable<AcceptedSource["sound"]>, file: string): Promise<void> {
  const { left, right, startsSeconds, peak, amplitudesOf } = await listenTo(file, TONES);
  expect({ left, right }).toEqual({ left: sound.left, right: sound.right });
  expect(peak).toBeLessThanOrEqual(1);
  const decibels = (ratio: number) => 20 * Math.log10(ratio);
  for (const [hertz, ...levels] of sound.levels ?? []) {
    const found = amplitudesOf(hertz);
    for (const [i, level] of levels.entries())
      expect(Math.abs(decibels((found[i] ?? 0) / level)), `${hertz} Hz on side ${i}`).toBeLessThan(1);
  }
  expect(Math.abs(startsSeconds - (sound.startsSeconds ?? 0))).toBeLessThan(0.03);
}

describe.each(refusedSources)("refused: $title", ({ sources }) => {
  test.for(sources)("$name", async ({ steps, needs, code, message }, { skip }) => {
    const reason = await lacking(needs ?? []);
    skip(reason !== null, reason ?? "");
    const { outcome } = await make(await makeSource(steps, folder()));
    if (outcome.ok) throw new Error("it was encoded");
    const { failure } = outcome;
    const withoutNumbers = (text: string) => text.replace(/\b\d+(\.\d+)?/g, "…");
    expect({ ...failure, message: withoutNumbers(failure.message) }).toEqual({
      code,
      message: withoutNumbers(message),
      retryable: false,
    });
  });
});
