/** What a test needs of the ffmpeg and ffprobe in use. They are asked, or tried; what is lacking skips the test. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { makeTestFolder, runFfmpeg } from "./ffmpeg-clip.ts";
import { AAC, STEREO, X264 } from "./source-file.ts";

const exec = promisify(execFile);

type Trial = {
  /** What ffmpeg makes. */
  clip: string;
  name: string;
  /** Whether this is right of the clip, as ffprobe tells it. */
  isRight: (streams: string) => boolean;
  otherwise: string;
};

const AMBISONIC = "-f lavfi -i aevalsrc=0.1|0.1|0|0:s=48000:d=1";
const picture = "-f lavfi -i testsrc2=s=720x576:r=25:d=1";
const trials = {
  "transport-streams": {
    ...{ clip: `${picture} ${X264}`, name: "clip.ts" },
    isRight: (streams) => streams.includes("video"),
    otherwise: "this ffprobe crashes on transport streams",
  },
  "raw-dv": {
    ...{ clip: `${picture} ${STEREO} -shortest -c:v dvvideo -pix_fmt yuv420p -c:a pcm_s16le`, name: "clip.dv" },
    isRight: (streams) => streams.includes("avg_frame_rate=25/1"),
    otherwise: "this ffprobe misreads the frame rate of raw DV",
  },
  "fragment-edits": {
    ...{ clip: `${STEREO} ${AAC} -movflags +frag_keyframe+delay_moov`, name: "clip.mp4" },
    // The encoder's first packet lies before the sound begins.
    isRight: (streams) => streams.includes("start_time=-0."),
    otherwise: "this ffprobe passes over the edit list of a fragmented movie",
  },
  "comment-flag": {
    ...{ clip: `${STEREO} ${AAC} -disposition:a:0 comment`, name: "clip.mkv" },
    isRight: (streams) => streams.includes("disposition:comment=1"),
    otherwise: "this ffmpeg marks no commentary in Matroska",
  },
  ambisonics: {
    ...{ clip: `${AMBISONIC} -c:a libopus -mapping_family 2`, name: "clip.mkv" },
    isRight: (streams) => streams.includes("channel_layout=ambisonic"),
    otherwise: "this ffmpeg makes no ambisonics",
  },
} satisfies Record<string, Trial>;

const listed = { encoder: "-encoders", filter: "-filters", bsf: "-bsfs" } as const;

export type Need = `${keyof typeof listed}:${string}` | keyof typeof trials;

const isTrial = (need: Need): need is keyof typeof trials => need in trials;

/** @returns why the need is not met, in words; null when it is */
async function ask(need: Need): Promise<string | null> {
  if (isTrial(need)) return (await passes(trials[need])) ? null : trials[need].otherwise;
  const [kind, name] = need.split(":") as [keyof typeof listed, string];
  const { stdout } = await exec("ffmpeg", ["-hide_banner", listed[kind]]);
  const isListed = stdout.split("\n").some((line) => line.trim().split(/ +/).slice(0, 2).includes(name));
  return isListed ? null : `this ffmpeg has no ${kind} ${name}`;
}

async function passes({ clip, name, isRight }: Trial): Promise<boolean> {
  const folder = await makeTestFolder();
  try {
    const file = join(folder.path, name);
    await runFfmpeg([...clip.split(" "), file]);
    const entries = [
      "-show_entries",
      "stream=codec_type,avg_frame_rate,start_time,channel_layout:stream_disposition=comment",
      "-of",
      "compact",
    ];
    const probed = exec("ffprobe", ["-v", "error", ...entries, file]);
    return await probed.then(
      ({ stdout }) => isRight(stdout),
      () => false,
    );
  } finally {
    await folder.remove();
  }
}

const answers = new Map<Need, Promise<string | null>>();

/** What is lacking, in words; null when everything is there. */
export async function lacking(needs: readonly Need[]): Promise<string | null> {
  for (const need of needs) {
    const answer = answers.get(need) ?? ask(need);
    answers.set(need, answer);
    const reason = await answer;
    if (reason !== null) return reason;
  }
  return null;
}
