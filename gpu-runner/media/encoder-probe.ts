/**
 * Chooses the encoder by encoding a few frames with it, as many streams at once as a job has renditions. Listing
 * encoders proves nothing: a card may lack NVENC, its driver may be too old, its sessions may be used up.
 */
import { execFile } from "node:child_process";
import type { Binaries } from "./binaries.ts";
import { type Dialect, type EncoderKind, videoEncoderOptions } from "./encode-command.ts";

export type EncoderChoice = {
  kind: EncoderKind;
  dialect: Dialect;
  /** Why this one, in words for the log and the dashboard. */
  reason: string;
  /** Renditions that one process may encode at once, where the card has not enough sessions for all. */
  outputsAtOnce?: number;
  /** What decoding and scaling on the card came to, by kind of source: "works", or why not. Absent: it is never tried. */
  gpuProofs?: Map<string, string>;
  /** FFMPEG_ENCODER=nvenc: rather fail than encode on the CPU. */
  only?: boolean;
};

export const ENCODER_SETTINGS = ["auto", "nvenc", "x264"] as const;
export type EncoderSetting = (typeof ENCODER_SETTINGS)[number];
/** `auto`: on the card where that is proven. */
export const DECODE_SETTINGS = ["auto", "cpu"] as const;
export type DecodeSetting = (typeof DECODE_SETTINGS)[number];

const PROBE_TIMEOUT_MS = 15_000;
const PROBE_PLAN = { maxRateBps: 3_000_000, crf: 22, cq: 23, gop: 50 };

/** Throws only when the setting insists on NVENC and there is none. */
export async function chooseEncoder(
  binaries: Binaries,
  setting: EncoderSetting,
  renditionCount: number,
  decode: DecodeSetting = "auto",
): Promise<EncoderChoice> {
  const { dialect } = binaries;
  if (setting === "x264") return { kind: "x264", dialect, reason: "libx264, as FFMPEG_ENCODER asks" };

  const found = await findNvenc(binaries, renditionCount);
  if (typeof found === "string") {
    if (setting === "nvenc") throw new Error(`FFMPEG_ENCODER=nvenc, but ${found}`);
    return { kind: "x264", dialect, reason: `libx264 on the CPU: ${found}` };
  }
  return {
    kind: "nvenc",
    ...found,
    // Older builds' cuda filters take other options.
    ...(decode === "auto" && dialect.frameRateModeOption === "-fps_mode" ? { gpuProofs: new Map() } : {}),
    ...(setting === "nvenc" ? { only: true } : {}),
  };
}

/** What NVENC can do here, or why it cannot be used. */
async function findNvenc(
  binaries: Binaries,
  renditionCount: number,
): Promise<Pick<EncoderChoice, "dialect" | "reason" | "outputsAtOnce"> | string> {
  let { dialect } = binaries;
  let reason = "NVENC: encoded a few frames";
  let failure = await tryNvenc(binaries, dialect, renditionCount);
  if (failure !== null && /B frames? as reference/i.test(failure)) {
    dialect = { ...dialect, bFrameReferences: false };
    reason = "NVENC, without B frames as references: this card has none";
    failure = await tryNvenc(binaries, dialect, renditionCount);
  }
  if (failure === null) return { dialect, reason };
  let outputs = renditionCount;
  while (failure !== null && isSessionLimit(failure) && outputs > 1) {
    failure = await tryNvenc(binaries, dialect, --outputs);
  }
  if (failure !== null) return explainNvencFailure(failure);
  const fewer = `${reason}; ${outputs} of ${renditionCount} renditions at once, as it has no more sessions`;
  return { dialect, reason: fewer, outputsAtOnce: outputs };
}

/** null when it worked, else what ffmpeg said. */
function tryNvenc(binaries: Binaries, dialect: Dialect, renditionCount: number): Promise<string | null> {
  const outputs = Array.from({ length: renditionCount }, () => [
    ..."-map 0:v -frames:v 10".split(" "),
    ...videoEncoderOptions("nvenc", PROBE_PLAN, dialect),
    ..."-f null -".split(" "),
  ]).flat();
  const input = "-hide_banner -nostdin -v error -f rawvideo -pix_fmt yuv420p -s 640x360 -r 25 -i /dev/zero".split(" ");
  return new Promise((resolve) => {
    execFile(
      binaries.ffmpegPath,
      [...input, ...outputs],
      { timeout: PROBE_TIMEOUT_MS, killSignal: "SIGKILL" },
      (error, _stdout, stderr) => {
        if (!error) resolve(null);
        else resolve(error.killed ? "timed out" : stderr || error.message);
      },
    );
  });
}

/** Consumer cards encode only a few streams at a time. Memory that has run out in earnest says the same. */
const SESSION_LIMIT = /out of memory \(10\)|incompatible client key \(21\)/;

export function isSessionLimit(stderr: string): boolean {
  return SESSION_LIMIT.test(stderr);
}

const NVENC_FAILURES: readonly [RegExp, string][] = [
  [/timed out/, "NVENC did not answer within 15 seconds"],
  [/Unknown encoder|Unrecognized option|Error setting option/, "this ffmpeg was built without (a recent) NVENC"],
  [/Cannot load libcuda|libnvidia-encode/, "no NVIDIA driver (in a container, allow the `video` driver capability)"],
  [/driver does not support the required nvenc API|minimum required Nvidia driver/i, "the NVIDIA driver is too old"],
  [/No capable devices|unsupported device/, "this card has no NVENC"],
  [SESSION_LIMIT, "NVENC has no session left"],
];

export function explainNvencFailure(stderr: string): string {
  const known = NVENC_FAILURES.find(([pattern]) => pattern.test(stderr));
  const firstLine = stderr.split("\n").find((line) => line.trim() !== "");
  return known?.[1] ?? `NVENC failed (${(firstLine ?? "no message").trim().slice(0, 200)})`;
}
