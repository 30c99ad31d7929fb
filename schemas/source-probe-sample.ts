/** What tests and benches say a source is: a plain one, and how it differs. */
import type { SourceProbe } from "./media-probe.ts";

/** Ten seconds of 1080p at 25 frames a second, without sound, of a camera that says nothing of its colours. */
const plain: SourceProbe = {
  container: "mov,mp4,m4a,3gp,3g2,mj2",
  durationSeconds: 10,
  videoDurationSeconds: 10,
  width: 1920,
  height: 1080,
  codedWidth: 1920,
  codedHeight: 1080,
  sar: { num: 1, den: 1 },
  rotation: 0,
  fps: { num: 25, den: 1 },
  vfr: false,
  videoCodec: "h264",
  pixelFormat: "yuv420p",
  bitDepth: 8,
  interlaced: false,
  hdr: null,
  colorMatrix: null,
  colorPrimaries: null,
  colorTransfer: null,
  fullRange: false,
  audio: [],
  timecode: null,
};

export function sourceProbe(changes: Partial<SourceProbe> = {}): SourceProbe {
  return { ...plain, ...changes };
}

/** Shown as it is coded. */
export function pictureOf(width: number, height: number) {
  return { width, height, codedWidth: width, codedHeight: height };
}

export const lasting = (seconds: number) => ({ durationSeconds: seconds, videoDurationSeconds: seconds });

export const bt709 = { colorMatrix: "bt709", colorPrimaries: "bt709", colorTransfer: "bt709" };

export const prores = { videoCodec: "prores", pixelFormat: "yuv422p10le", bitDepth: 10 };
