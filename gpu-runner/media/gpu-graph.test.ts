import { describe, expect, test } from "vitest";
import { defaultLadder } from "../../schemas/ladder.ts";
import type { SourceProbe } from "../../schemas/media-probe.ts";
import { planLadder } from "../../schemas/plan-ladder.ts";
import { bt709, lasting, pictureOf, sourceProbe } from "../../schemas/source-probe-sample.ts";
import { buildEncodeCommand, type EncodeCommandInput, SOURCE_LIMITS, toArguments } from "./encode-command.ts";
import { gpuFilterGraph, whyNotOnGpu } from "./gpu-graph.ts";
import { isPassingTrouble, judgeProof, proofCommand } from "./gpu-proof.ts";
import { GpuProofMemory } from "./gpu-proof-memory.ts";

const source = sourceProbe({ ...lasting(20), ...pictureOf(960, 540), ...bt709 });
const plans = planLadder(source, defaultLadder);

const input: EncodeCommandInput = {
  source,
  plans,
  encoder: "nvenc",
  dialect: { frameRateModeOption: "-fps_mode", bFrameReferences: true },
  input: "http://127.0.0.1:4000/secret",
  targets: plans.map((plan) => `unix:/tmp/encode-x/${plan.quality}.sock`),
};

const START = `-hide_banner -nostdin -v warning -nostats -progress pipe:2 -max_error_rate 1 ${SOURCE_LIMITS.join(" ")} -noautorotate`;

const rung = (i: number, rate: number, quality: string) =>
  `-map [v${i}] -map_metadata -1 -map_chapters -1 -fps_mode cfr -r 25/1 -c:v h264_nvenc -preset p5 -tune hq -profile:v high ` +
  `-rc vbr -cq 23 -b:v 0 -maxrate ${rate} -bufsize ${rate * 2} -spatial-aq 1 -aq-strength 8 -temporal-aq 1 ` +
  "-rc-lookahead 20 -bf 3 -b_ref_mode middle -no-scenecut 1 -forced-idr 1 -g 50 -force_key_frames " +
  "expr:gte(t,n_forced*2) -color_primaries bt709 -color_trc bt709 -colorspace bt709 -color_range tv " +
  "-max_muxing_queue_size 4096 -movflags +frag_keyframe+delay_moov+default_base_moof -frag_duration 500000 -f mp4 " +
  `unix:/tmp/encode-x/${quality}.sock`;

test("NVENC, with pictures decoded and scaled on the CPU, word for word", () => {
  const end =
    "flags=bicubic:in_color_matrix=bt709:out_color_matrix=bt709:out_range=limited,setsar=1,format=yuv420p," +
    "setparams=range=tv:color_primaries=bt709:color_trc=bt709:colorspace=bt709";
  expect(toArguments(buildEncodeCommand(input)).join(" ")).toBe(
    `${START} -i http://127.0.0.1:4000/secret -filter_complex ` +
      `[0:V:0]bwdif=mode=send_frame:parity=auto:deint=interlaced,split=2[s0][s1];[s0]scale=640:360:${end}[v0];[s1]scale=960:540:${end}[v1] ` +
      `${rung(0, 800_000, "360p")} ${rung(1, 1_600_000, "540p")}`,
  );
});

test("NVENC, with pictures that never leave the card, word for word", () => {
  expect(toArguments(buildEncodeCommand({ ...input, graph: "gpu" })).join(" ")).toBe(
    `${START} -init_hw_device cuda=cu:0 -filter_hw_device cu -hwaccel cuda -hwaccel_device cu -hwaccel_output_format cuda ` +
      "-extra_hw_frames 8 -i http://127.0.0.1:4000/secret -filter_complex " +
      "[0:V:0]format=nv12|p010le|cuda,hwupload,split=2[s0][s1];" +
      "[s0]scale_cuda=640:360:interp_algo=bicubic:format=yuv420p,setsar=1[v0];" +
      "[s1]scale_cuda=960:540:interp_algo=bicubic:format=yuv420p,setsar=1[v1] " +
      `${rung(0, 800_000, "360p")} ${rung(1, 1_600_000, "540p")}`,
  );
});

test("one rendition needs no split on the card either", () => {
  expect(gpuFilterGraph(source, plans.slice(0, 1))).toBe(
    "[0:V:0]format=nv12|p010le|cuda,hwupload,scale_cuda=640:360:interp_algo=bicubic:format=yuv420p,setsar=1[v0]",
  );
});

describe("stays on the card", () => {
  test.each([
    ["h264 of 8 bits", {}],
    ["hevc of 10 bits, SDR", { videoCodec: "hevc", pixelFormat: "yuv420p10le", bitDepth: 10 }],
    ["av1", { videoCodec: "av1" }],
    [
      "what says nothing of its colours, and is large",
      { codedHeight: 720, colorMatrix: null, colorPrimaries: null, colorTransfer: null },
    ],
    ["anamorphic", { sar: { num: 4, den: 3 } }],
  ] satisfies [string, Partial<SourceProbe>][])("%s", (_name, changes) => {
    expect(whyNotOnGpu({ ...source, ...changes }, plans)).toBeNull();
  });
});

describe("goes through the CPU's graph", () => {
  test.each([
    ["prores", { videoCodec: "prores", pixelFormat: "yuv422p10le" }, "NVDEC does not decode prores in yuv422p10le"],
    ["h264 4:2:2", { pixelFormat: "yuv422p" }, "NVDEC does not decode h264 in yuv422p"],
    ["h264 of 10 bits", { pixelFormat: "yuv420p10le" }, "NVDEC does not decode h264 in yuv420p10le"],
    ["portrait", { rotation: 90 }, "the picture has to be turned"],
    ["mirrored", { mirrored: true }, "the picture has to be turned"],
    ["interlaced", { interlaced: true }, "the picture is interlaced"],
    ["a transport stream, which may be joined", { container: "mpegts" }, "the picture may turn interlaced"],
    ["HDR", { videoCodec: "hevc", pixelFormat: "yuv420p10le", hdr: "pq" }, "the picture is HDR"],
    ["full range", { fullRange: true }, "the picture's range has to be converted"],
    ["BT.601", { colorMatrix: "smpte170m" }, "the picture's colours have to be converted"],
    ["wide gamut", { colorPrimaries: "bt2020" }, "the picture's colours have to be converted"],
    ["what is small and says nothing", { colorMatrix: null }, "the picture's colours have to be converted"],
    ["VFR", { vfr: true }, "the frame rate has to be changed"],
  ] satisfies [string, Partial<SourceProbe>, string][])("%s", (_name, changes, why) => {
    expect(whyNotOnGpu({ ...source, ...changes }, plans)).toBe(why);
  });

  test("a rate above what the ladder allows", () => {
    const resampled = plans.map((plan) => ({ ...plan, resample: true }));
    expect(whyNotOnGpu(source, resampled)).toBe("the frame rate has to be changed");
  });
});

describe("the proof", () => {
  test("is the very command, cut short, into nothing", () => {
    const command = buildEncodeCommand({ ...input, graph: "gpu" });
    const proof = toArguments(proofCommand(command)).join(" ");
    const whole = toArguments(command).join(" ");
    expect(proof).toContain(whole.slice(0, whole.indexOf(" -movflags")));
    expect(proof.match(/-t 0\.5 -f null -/g)).toHaveLength(2);
    expect(proof).not.toContain("unix:");
  });

  test.each([
    [true, "frame=12\nfps=30\nprogress=end\n", null],
    [true, "frame=0\nprogress=end\n", "no frame came out"],
    [
      false,
      "frame=0\nprogress=continue\n[AVHWDeviceContext] Cannot load libcuda.so.1\n",
      "[AVHWDeviceContext] Cannot load libcuda.so.1",
    ],
    [
      true,
      "[av1 @ 0x1] Failed setup for format cuda: hwaccel initialisation returned error.\nframe=12\nprogress=end\n",
      "[av1 @ 0x1] Failed setup for format cuda: hwaccel initialisation returned error.",
    ],
    [false, "", "no message"],
  ])("ended well: %s, saying %j", (endedWell, stderr, why) => {
    expect(judgeProof(endedWell, stderr)).toBe(why);
  });

  test.each([
    ["it did not end in its time", true],
    ["ffmpeg was killed", true],
    ["[h264_nvenc @ 0x1] OpenEncodeSessionEx failed: out of memory (10): (no details)", true],
    ["cu->cuMemAlloc failed -> CUDA_ERROR_OUT_OF_MEMORY: out of memory", true],
    ["http://127.0.0.1:4000/secret: Input/output error", true],
    ["Failed setup for format cuda: hwaccel initialisation returned error.", false],
    ["no frame came out", false],
  ])("failing with %j is passing trouble: %s", (why, passing) => {
    expect(isPassingTrouble(why)).toBe(passing);
  });

  test("that failed is made again after half an hour; one that went well is not", () => {
    let now = 0;
    const memory = new GpuProofMemory(() => now);
    memory.remember("hevc", "no frame came out");
    memory.remember("h264", "works");
    now = 30 * 60_000 - 1;
    expect(memory.recall("hevc")).toBe("no frame came out");
    now++;
    expect(memory.recall("hevc")).toBeNull();
    expect(memory.recall("h264")).toBe("works");
    expect(memory.recall("vp9")).toBeNull();
  });
});
