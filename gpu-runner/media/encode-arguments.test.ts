/** Whole argument lists, as files: what an encode is told changes only where somebody has looked at it. */
import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { defaultLadder } from "../../schemas/ladder.ts";
import { SourceProbe } from "../../schemas/media-probe.ts";
import { planLadder } from "../../schemas/plan-ladder.ts";
import { bt709, lasting, pictureOf, sourceProbe } from "../../schemas/source-probe-sample.ts";
import { buildEncodeCommand, type EncoderKind, SOURCE_LIMITS, toArguments } from "./encode-command.ts";

const track = { codec: "aac", channels: 2, layout: "stereo", sampleRateHz: 48_000, language: null };
const microphone = { ...track, codec: "pcm_s24le", channels: 1, layout: "mono" };

const plain = sourceProbe({ ...lasting(20), ...pictureOf(960, 540), ...bt709, audio: [track] });

const sources: Readonly<Record<string, SourceProbe>> = {
  "plain-with-timecode": SourceProbe.parse({ ...plain, timecode: "10:00:00:00" }),
  "hlg-portrait-5.1": SourceProbe.parse({
    ...plain,
    ...{ width: 540, height: 960, rotation: 90, fps: { num: 60000, den: 1001 } },
    ...{ videoCodec: "hevc", pixelFormat: "yuv420p10le", bitDepth: 10, hdr: "hlg" },
    ...{ colorMatrix: "bt2020nc", colorPrimaries: "bt2020", colorTransfer: "arib-std-b67" },
    audio: [{ ...track, channels: 6, layout: "5.1" }],
  }),
  "interlaced-vfr-two-microphones": SourceProbe.parse({
    ...plain,
    ...{ container: "mxf", videoCodec: "mpeg2video", pixelFormat: "yuv422p", interlaced: true },
    ...{ width: 1024, height: 576, codedWidth: 720, codedHeight: 576, sar: { num: 64, den: 45 } },
    ...{ fps: { num: 29, den: 1 }, vfr: true, pictureDelaySeconds: 0.02, startsWithPicture: true },
    ...{ colorMatrix: "smpte170m", colorPrimaries: null, colorTransfer: null },
    ...{ audio: [microphone, microphone], timecode: "10:00:00:00" },
  }),
};

/** An option and its value in a line; the demuxers, which are many, by name. */
function shown(args: readonly string[]): string {
  const limits = SOURCE_LIMITS.join(" ");
  const lines = args.map((arg, i) => (i > 0 && !/^-[a-z]/.test(arg) ? ` ${arg}` : `\n${arg}`)).join("");
  return `${lines.replace(limits.replace(" -format", "\n-format"), "SOURCE_LIMITS").trim()}\n`;
}

const kinds: readonly EncoderKind[] = ["x264", "nvenc"];

test.each(Object.keys(sources).flatMap((name) => kinds.map((encoder) => ({ name, encoder }))))(
  "$name with $encoder",
  async ({ name, encoder }) => {
    const source = sources[name] ?? plain;
    const plans = planLadder(source, defaultLadder);
    const args = toArguments(
      buildEncodeCommand({
        ...{ source, plans, encoder, input: "http://127.0.0.1:4000/secret" },
        dialect: { frameRateModeOption: "-fps_mode", bFrameReferences: true },
        hdrCube: source.hdr === null ? null : `/tmp/encode-x/${source.hdr}.cube`,
        targets: plans.map(({ quality }) => `unix:/tmp/encode-x/${quality}.sock`),
      }),
    );
    const golden = await readFile(new URL(`testing/golden/${name}.${encoder}.txt`, import.meta.url), "utf8");
    expect(shown(args)).toBe(golden);
  },
);
