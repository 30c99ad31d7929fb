/** Every source of the table, made by ffmpeg and put through a whole job: what must come out, or what is told. */
import { readFile } from "node:fs/promises";
import { beforeAll, describe, expect, test } from "vitest";
import type { Quality } from "../../schemas/ladder.ts";
import { children } from "./mp4/box.ts";
import type { AcceptedSource } from "./testing/accepted-source.ts";
import { lacking } from "./testing/ffmpeg-ability.ts";
import { clip, make, qualities, useJobBench } from "./testing/job-bench.ts";
import { oddPictureSources } from "./testing/odd-picture-source.ts";
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

describe.each([...pictureSources, ...oddPictureSources, ...oddTimeSources, ...soundSources])(
  "$title",
  ({ sources }) => {
    test.for(sources)("$name", async (source, { skip }) => {
      const reason = await lacking(source.needs ?? []);
      skip(reason !== null, reason ?? "");
      const made = await make(await makeSource(source.steps, folder()));
      expect(qualities(made)).toEqual(Object.keys(source.renditions));
      const looks = new Map<Quality, RenditionLook>();
      for (const [quality, file] of made.files) looks.set(quality, await lookAt(file));
      for (const [quality, look] of looks) checkTracks(source, look, source.renditions[quality] ?? "");
      const keyframes = [...looks.values()].map(({ keyframeSeconds }) => keyframeSeconds);
      for (const each of keyframes) expect(each).toEqual(keyframes[0]);
      for (const file of made.files.values()) {
        const boxes = children(await readFile(file)).map(({ type }) => type);
        expect(boxes.filter((type) => type !== "free")).toEqual(["ftyp", "moov", "mdat"]);
      }
      const lowest = made.files.get("360p") ?? "";
      checkColour(source, await meansOf(["-i", lowest], source.combs ? "transpose" : "null"));
      if (source.sound) await checkSound(source.sound, lowest);
    });
  },
);

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
  // Shown as it is, PQ and HLG look washed out: blacks at twice their level, and less than half of the saturation.
  expect(Math.abs(seen.yLow - reference.yLow)).toBeLessThan(8);
  // libplacebo's picture of the HLG card has 0.70 of the saturation.
  const least = { y: 0.7, yHigh: 0.7, saturation: 0.69 };
  for (const key of ["y", "yHigh", "saturation"] as const) {
    expect(seen[key] / reference[key], key).toBeGreaterThan(least[key]);
    expect(seen[key] / reference[key], key).toBeLessThan(1.05);
  }
}

async function checkSound(sound: NonNullable<AcceptedSource["sound"]>, file: string): Promise<void> {
  const { startsSeconds, ...heard } = await listenTo(file, TONES);
  expect(heard).toEqual({ left: sound.left, right: sound.right });
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
