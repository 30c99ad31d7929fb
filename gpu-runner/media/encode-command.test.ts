import { describe, expect, test } from "vitest";
import { defaultLadder } from "../../schemas/ladder.ts";
import type { SourceProbe } from "../../schemas/media-probe.ts";
import { planLadder } from "../../schemas/plan-ladder.ts";
import { bt709, lasting, pictureOf, prores, sourceProbe } from "../../schemas/source-probe-sample.ts";
import { buildEncodeCommand, type EncodeCommandInput, SOURCE_LIMITS, toArguments } from "./encode-command.ts";
import { fluentCommand } from "./ffmpeg-process.ts";
import { filterGraph, type Holes } from "./picture-graph.ts";

const source = sourceProbe({
  ...{ ...lasting(20), ...pictureOf(960, 540), ...prores, ...bt709 },
  fps: { num: 30000, den: 1001 },
  audio: [{ codec: "pcm_s24le", channels: 2, sampleRateHz: 48_000, language: null }],
  timecode: "01:00:00;00",
});

function input(changes: Partial<EncodeCommandInput> = {}): EncodeCommandInput {
  const plans = planLadder(changes.source ?? source, defaultLadder);
  return {
    source,
    plans,
    encoder: "x264",
    dialect: { frameRateModeOption: "-fps_mode", bFrameReferences: true },
    input: "http://127.0.0.1:4000/secret",
    targets: plans.map((plan) => `unix:/tmp/encode-x/${plan.quality}.sock`),
    ...changes,
  };
}

const DEINTERLACED = "bwdif=mode=send_frame:parity=auto:deint=interlaced";
const GRAPH_END =
  "out_color_matrix=bt709:out_range=limited,setsar=1,format=yuv420p,setparams=range=tv:color_primaries=bt709:color_trc=bt709:colorspace=bt709";

test("two rungs on the CPU, word for word", () => {
  const rung = (i: number, rate: number, quality: string) =>
    `-map [v${i}] -map 0:a:0 -map_metadata -1 -map_chapters -1 -fps_mode cfr -r 30000/1001 -c:v libx264 -preset fast -profile:v high -crf 22 ` +
    `-maxrate ${rate} -bufsize ${rate * 2} -keyint_min 60 -sc_threshold 0 -g 60 -force_key_frames expr:gte(t,n_forced*2) ` +
    "-color_primaries bt709 -color_trc bt709 -colorspace bt709 -color_range tv -af aresample=48000:async=1:min_hard_comp=0.02:first_pts=0 -c:a aac -b:a 128000 -ac 2 -ar 48000 " +
    "-timecode 01:00:00;00 -max_muxing_queue_size 4096 -movflags +frag_keyframe+delay_moov+default_base_moof -frag_duration 500000 -f mp4 " +
    `unix:/tmp/encode-x/${quality}.sock`;
  const graph =
    `[0:V:0]${DEINTERLACED},split=2[s0][s1];` +
    `[s0]scale=640:360:flags=bicubic:in_color_matrix=bt709:${GRAPH_END}[v0];` +
    `[s1]scale=960:540:flags=bicubic:in_color_matrix=bt709:${GRAPH_END}[v1]`;
  expect(toArguments(buildEncodeCommand(input())).join(" ")).toBe(
    `-hide_banner -nostdin -v warning -nostats -progress pipe:2 -max_error_rate 1 ${SOURCE_LIMITS.join(" ")} -noautorotate ` +
      "-i http://127.0.0.1:4000/secret " +
      `-filter_complex ${graph} ${rung(0, 800_000, "360p")} ${rung(1, 1_600_000, "540p")}`,
  );
});

test("the last picture of a film whose end is damaged stands before it is scaled", () => {
  const graphOf = (holes: Holes | null) => buildEncodeCommand(input({ holes })).filterGraph;
  expect(graphOf({ holdLastSeconds: 1.25, endSeconds: 10 })).toContain(
    ",fps=30000/1001,tpad=stop_mode=clone:stop_duration=1.250,trim=end_frame=300,split=2",
  );
  expect(graphOf({ holdLastSeconds: 0, endSeconds: 10 })).toContain(",fps=30000/1001,trim=end_frame=300,split=2");
  expect(graphOf(null)).not.toMatch(/fps=|tpad/);
});

test("NVENC, on a card that has no B frames as references", () => {
  const dialect = { frameRateModeOption: "-vsync", bFrameReferences: false } as const;
  const [first] = buildEncodeCommand(input({ encoder: "nvenc", dialect })).outputs;
  expect(first?.options.join(" ")).toContain(
    "-vsync cfr -r 30000/1001 -c:v h264_nvenc -preset p5 -tune hq -profile:v high -rc vbr -cq 23 -b:v 0 -maxrate 800000 -bufsize 1600000 " +
      "-spatial-aq 1 -aq-strength 8 -temporal-aq 1 -rc-lookahead 20 -bf 3 -no-scenecut 1 -forced-idr 1 -g 60",
  );
});

test("a build before 5.1 gets a second input, so that it ignores how long packets say they last", () => {
  const graphFor = (frameRateModeOption: "-vsync" | "-fps_mode") =>
    buildEncodeCommand(input({ dialect: { frameRateModeOption, bFrameReferences: true } })).filterGraph;
  expect(graphFor("-vsync")).toBe(`${graphFor("-fps_mode")};[0:V:0]nullsink`);
});

test("fluent-ffmpeg hands on exactly the arguments that were built", () => {
  const command = buildEncodeCommand(input());
  const run = fluentCommand(command, "ffmpeg") as unknown as { _getArguments: () => string[] };
  expect(run._getArguments()).toEqual(toArguments(command));
});

describe("the filter graph", () => {
  const graphOf = (changes: Partial<SourceProbe>, rungs = 1) => {
    const changed = { ...source, ...changes };
    return filterGraph(changed, planLadder(changed, defaultLadder).slice(0, rungs), { hdrCube: "/tmp/x/hlg.cube" });
  };

  test("one rendition needs no split", () => {
    expect(graphOf({})).toBe(
      `[0:V:0]${DEINTERLACED},scale=640:360:flags=bicubic:in_color_matrix=bt709:${GRAPH_END}[v0]`,
    );
  });

  test("deinterlaces before it changes the rate, and does both once", () => {
    const fps = { num: 120, den: 1 };
    expect(graphOf({ interlaced: true, fps }, 2)).toMatch(
      /^\[0:V:0\]bwdif=mode=send_frame:parity=auto:deint=interlaced,fps=60\/1,split=2\[s0\]\[s1\];\[s0\]scale/,
    );
  });

  test("turns what has been deinterlaced, by filters", () => {
    expect(graphOf({ rotation: 90 })).toContain(
      `${DEINTERLACED},transpose=clock,sidedata=mode=delete:type=DISPLAYMATRIX,scale=`,
    );
    const mirrored = true as const;
    const turns = ([0, 90, 180, 270] as const).map((rotation) => graphOf({ rotation, mirrored }).split(",")[1]);
    expect(turns).toEqual(["hflip", "transpose=cclock_flip", "vflip", "transpose=clock_flip"]);
  });

  test("deinterlaces by each frame's flag whatever may have fields, and nothing else", () => {
    expect(graphOf({ videoCodec: "prores" })).toContain(DEINTERLACED);
    expect(graphOf({ videoCodec: "vp9", pixelFormat: "yuv420p" })).not.toContain("bwdif");
    expect(graphOf({ videoCodec: "v210" })).not.toContain("bwdif");
    expect(graphOf({ videoCodec: "v210", interlaced: true })).toContain(DEINTERLACED);
    expect(graphOf({ ...pictureOf(12, 12) })).not.toContain("bwdif");
  });

  test("takes grey as luma, in the range that is stated or usual", () => {
    const grey = { pixelFormat: "gray", bitDepth: 8 };
    expect(graphOf({ ...grey, videoCodec: "hevc" })).toMatch(
      /\]scale=in_range=full:out_range=full,format=yuv420p,scale=.*:in_range=limited:/,
    );
    expect(graphOf({ ...grey, videoCodec: "hevc", fullRange: true })).toContain(":in_range=full:");
    expect(graphOf({ ...grey, videoCodec: "ffv1" })).toContain(":in_range=full:");
    expect(graphOf({ ...grey, videoCodec: "ffv1", colorRange: "tv" })).toContain(":in_range=limited:");
    expect(graphOf({ videoCodec: "hevc", pixelFormat: "gray10le", bitDepth: 10 })).toContain(
      "]scale=in_range=full:out_range=full,format=yuv420p10le,",
    );
  });

  test("begins with a picture that comes a frame or a sound encoder's priming after the sound", () => {
    const fps = { num: 60, den: 1 };
    expect(graphOf({ fps, pictureDelaySeconds: 0.021333, startsWithPicture: true })).toMatch(
      /^\[0:V:0\]setpts=round\(PTS-0\.021333\/TB\),bwdif/,
    );
    expect(graphOf({ fps, pictureDelaySeconds: 0.06 })).not.toContain("setpts");
  });

  test("begins with the first picture of a container that does not say when it is shown", () => {
    expect(graphOf({ container: "avi" })).toContain("]setpts=PTS-STARTPTS,bwdif");
    expect(graphOf({ container: "avi", pictureDelaySeconds: 0.4 })).not.toContain("setpts");
  });

  const wide = { colorMatrix: "bt2020nc", colorPrimaries: "bt2020" };

  test("maps HDR at the largest rendition's size, and takes it for BT.709 afterwards", () => {
    const graph = graphOf({ ...wide, hdr: "hlg", width: 1920, height: 1080 }, 4);
    expect(graph).toContain(
      "scale=1920:1080:flags=bicubic:in_color_matrix=bt2020:in_range=limited:out_range=full,format=gbrp16le,lut3d=file=/tmp/x/hlg.cube:interp=tetrahedral,",
    );
    const matrices = [...graph.matchAll(/in_color_matrix=(\w+):in_range=(\w+)/g)].map(([, ...found]) => found.join());
    expect(matrices).toEqual(["bt2020,limited", ...Array.from({ length: 4 }, () => "bt709,limited")]);
  });

  test("takes the matrix from the file, else from the size, and none for RGB", () => {
    expect(graphOf({ colorMatrix: "bt470bg" })).toContain("in_color_matrix=bt601");
    expect(graphOf({ colorMatrix: null, codedHeight: 576 })).toContain("in_color_matrix=bt601");
    expect(graphOf({ colorMatrix: null, codedHeight: 720 })).toContain("in_color_matrix=bt709");
    expect(graphOf({ colorMatrix: null, pixelFormat: "gbrp10le" })).not.toContain("in_color_matrix");
  });
});

describe("sound", () => {
  const soundOf = (audio: SourceProbe["audio"]) => {
    const changed = { ...source, audio };
    return buildEncodeCommand(input({ source: changed })).outputs[0]?.options.join(" ") ?? "";
  };
  const track = { codec: "aac", channels: 2, sampleRateHz: 48_000, language: null };

  test("is left out where there is none, or none that can be decoded", () => {
    expect(soundOf([])).not.toMatch(/0:a|-c:a/);
    expect(soundOf([{ ...track, codec: "unknown" }])).not.toMatch(/0:a|-c:a/);
  });

  test("is the first track that can be decoded", () => {
    expect(soundOf([{ ...track, codec: "unknown" }, track])).toContain("-map 0:a:1");
  });
});
