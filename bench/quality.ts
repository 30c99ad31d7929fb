/** How much of a source's picture each rung keeps, and for how many bits: what the ladder's settings are judged by. */
import { execFile } from "node:child_process";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { type Binaries, findBinaries } from "../gpu-runner/media/binaries.ts";
import { chooseEncoder, ENCODER_SETTINGS, type EncoderSetting } from "../gpu-runner/media/encoder-probe.ts";
import { defaultLadder } from "../schemas/ladder.ts";
import { OptionError, readOptions } from "./bench-options.ts";
import { type Bench, type Figure, figureOf, printFigures, say } from "./figure.ts";
import { encodeFile } from "./quality-encode.ts";
import { measure, metricOf, perfect } from "./quality-measure.ts";

const help = `Usage: npm run bench -- quality [options]

  quality-RUNG-vmaf      of each rung, against the source scaled to its size (bicubic);
  quality-RUNG-ssim      VMAF where this ffmpeg has it, else SSIM. Baseline: what cannot
                         be told from the source (100, or 1)
  quality-RUNG-kbps      bits a second of the whole file. Baseline: the rung's cap

A whole job of the media core: the source by ranges, one ffmpeg, all rungs at once.

  --file F       a video instead of a generated one: 10 seconds, 1920x1080,
                 moving and grainy, harder than most footage
  --encoder E    auto, nvenc or x264                                  [auto]
  --help`;

interface Options {
  file: string | undefined;
  encoder: EncoderSetting;
}

function parseOptions(args: string[]): Options {
  const values = readOptions(args, {
    file: { type: "string" },
    encoder: { type: "string", default: "auto" },
  });
  const encoder = ENCODER_SETTINGS.find((each) => each === values.encoder);
  if (encoder === undefined)
    throw new OptionError(`--encoder takes ${ENCODER_SETTINGS.join(", ")}, not ${values.encoder}.`);
  return { file: values.file, encoder };
}

/** Something that moves at every scale, with grain that changes in every frame. */
async function makeClip({ ffmpegPath }: Binaries, path: string): Promise<void> {
  say("making 10 seconds of a moving, grainy picture");
  const picture = "testsrc2=s=1920x1080:r=25:d=10,rotate=a=t/20:c=gray,noise=alls=10:allf=t+u,format=yuv420p";
  const lossless = "-c:v libx264 -preset ultrafast -qp 0 -color_primaries bt709 -color_trc bt709 -colorspace bt709";
  const args = ["-v", "error", "-nostdin", "-f", "lavfi", "-i", picture, ...lossless.split(" "), path];
  await promisify(execFile)(ffmpegPath, args, { timeout: 10 * 60_000 });
}

async function run(args: string[]): Promise<void> {
  const options = parseOptions(args);
  const binaries = await findBinaries(process.env);
  const encoder = await chooseEncoder(binaries, options.encoder, defaultLadder.rungs.length);
  const metric = await metricOf(binaries);
  say(`ffmpeg ${binaries.version}; ${encoder.reason}; measuring ${metric.toUpperCase()}`);
  const folder = await mkdtemp(join(tmpdir(), "mmf-quality-"));
  try {
    const file = options.file ?? join(folder, "source.mkv");
    if (options.file === undefined) await makeClip(binaries, file);
    const { size: sizeBytes } = await stat(file);
    const { source, made } = await encodeFile({ file, sizeBytes, folder, binaries, encoder });
    const figures: Figure[] = [];
    for (const { plan, rendition, file: renditionFile } of made) {
      const score = await measure(binaries, metric, { sourceFile: file, renditionFile, source, plan });
      const kbps = (rendition.sizeBytes * 8) / rendition.durationSeconds / 1_000;
      const capKbps = (plan.maxRateBps + (plan.audioBitrateBps ?? 0)) / 1_000;
      say(
        `${plan.quality.padEnd(5)}  ${plan.width}x${plan.height}  ${metric} ${score.toFixed(3)}  ${kbps.toFixed(0)} kbit/s`,
      );
      figures.push(
        figureOf(`quality-${plan.quality}-${metric}`, score, perfect[metric]),
        figureOf(`quality-${plan.quality}-kbps`, kbps, capKbps),
      );
    }
    printFigures(figures);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

export const qualityBench: Bench = {
  says: "how much of the picture each rung keeps, and for how many bits",
  help,
  run,
};
