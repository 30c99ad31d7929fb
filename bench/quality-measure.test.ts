import { expect, test } from "vitest";
import { defaultLadder, type RenditionPlan } from "../schemas/ladder.ts";
import { planLadder } from "../schemas/plan-ladder.ts";
import { bt709, pictureOf, sourceProbe } from "../schemas/source-probe-sample.ts";
import { measureArguments, readScore } from "./quality-measure.ts";

const source = sourceProbe({ ...pictureOf(640, 360), ...bt709 });

test("a rendition is held against the source at its own size, frame by frame", () => {
  const [plan] = planLadder(source, defaultLadder) as [RenditionPlan];
  const args = measureArguments("ssim", { sourceFile: "a.mkv", renditionFile: "360p.mp4", source, plan });
  expect(args.slice(-3)).toEqual(["-f", "null", "-"]);
  expect(args[args.indexOf("-filter_complex") + 1]).toBe(
    "[0:V:0]bwdif=mode=send_frame:parity=auto:deint=interlaced,scale=640:360:flags=bicubic:in_color_matrix=bt709:out_color_matrix=bt709:out_range=limited,setsar=1,format=yuv420p," +
      "setparams=range=tv:color_primaries=bt709:color_trc=bt709:colorspace=bt709[v0];" +
      "[v0]fps=25/1,settb=AVTB,setpts=N*1/25/TB[reference];[1:V:0]settb=AVTB,setpts=N*1/25/TB[rendition];" +
      "[rendition][reference]ssim",
  );
});

test("the score is what ffmpeg says last, and no score is an error", () => {
  expect(
    readScore("ssim", "x\n[Parsed_ssim_7 @ 0x1] SSIM Y:0.98 (17.0) U:0.99 (20.0) V:0.99 (20.0) All:0.984512 (18.1)\n"),
  ).toBe(0.984512);
  expect(readScore("vmaf", "[Parsed_libvmaf_7 @ 0x1] VMAF score: 95.123456\n")).toBe(95.123456);
  expect(() => readScore("vmaf", "Conversion failed!")).toThrow("ffmpeg told no vmaf: Conversion failed!");
});
