/** `npm run try -- FILE…`: what becomes of a file, measured, without a stack. */
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { findBinaries } from "../../gpu-runner/media/binaries.ts";
import { chooseEncoder, ENCODER_SETTINGS, type EncoderSetting } from "../../gpu-runner/media/encoder-probe.ts";
import { openLiveScreen } from "../live-screen.ts";
import { misuse } from "../misuse.ts";
import { bad, dim, terminalColumns, warm } from "../paint.ts";
import { progressLines, reportTrial } from "./report.ts";
import { runTrial } from "./trial.ts";
import { newTrial, type Trial } from "./trial-state.ts";

const command = "npm run try --";
const help = `Puts files through the media core as a runner would, and compares what comes out with what went in.

Usage: ${command} FILE…

  --out FOLDER       keep the renditions, in a folder for each file
  --encoder NAME     auto, nvenc or x264 (auto)
  --seconds N        compare sound and picture over the first N seconds (60); frames are counted to the end
  --json             one JSON document instead
  --help

Exit code: 0 every file came out as it was shot, 1 one came out wrong, 2 called wrongly,
3 one was refused and none came out wrong.
`;

function parseOptions() {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        out: { type: "string" },
        encoder: { type: "string", default: "auto" },
        seconds: { type: "string", default: "60" },
        json: { type: "boolean", default: false },
        help: { type: "boolean", default: false, short: "h" },
      },
    });
    return { ...values, files: positionals };
  } catch (error) {
    return misuse(command, (error as Error).message);
  }
}

const options = parseOptions();
if (options.help) {
  console.log(help);
  process.exit(0);
}
if (options.files.length === 0) misuse(command, "Name at least one FILE.");
const encoderSetting = ENCODER_SETTINGS.find((each) => each === options.encoder);
if (encoderSetting === undefined) misuse(command, `--encoder takes ${ENCODER_SETTINGS.join(", ")}.`);
const compareSeconds = Number(options.seconds);
if (!(compareSeconds > 0)) misuse(command, `--seconds takes a number above 0, not ${options.seconds}.`);
for (const file of options.files) {
  const found = await stat(file).catch(() => null);
  if (!found?.isFile()) misuse(command, `There is no file ${file}.`);
}

const leaving = new AbortController();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => leaving.abort(new Error("stopped")));
}
const temporary = options.out === undefined ? await mkdtemp(join(tmpdir(), "mmf-try-")) : null;
const trials: Trial[] = options.files.map(newTrial);
try {
  await tryAll(encoderSetting, temporary ?? resolve(options.out ?? ""));
} catch (error) {
  console.error(`${bad("✗")} ${(error as Error).message}`);
  process.exitCode = 1;
} finally {
  if (temporary !== null) await rm(temporary, { recursive: true, force: true });
}
if (leaving.signal.aborted) process.exit(130);
if (options.json) console.log(JSON.stringify({ trials }, null, 2));
else if (trials.length > 1) console.log(dim(tally()));
process.exitCode ??= trials.some(({ faults }) => faults.length > 0) ? 1 : trials.some(({ refusal }) => refusal) ? 3 : 0;

async function tryAll(setting: EncoderSetting, folder: string): Promise<void> {
  const binaries = await findBinaries(process.env);
  const encoder = await chooseEncoder(binaries, setting, 5);
  for (const warning of binaries.warnings) console.error(`${warm("!")} ${warning}`);
  console.error(dim(`ffmpeg ${binaries.version}, ${encoder.reason}`));
  for (const [n, trial] of trials.entries()) {
    if (leaving.signal.aborted) return;
    const item = {
      lines: (columns: number) => progressLines(trial, columns),
      summary: () => ({ stage: `${basename(trial.file)}  ${trial.stage}`, detail: "" }),
    };
    const screen = openLiveScreen(process.stderr as NodeJS.WriteStream, [item]);
    const own = join(folder, `${n + 1}-${basename(trial.file)}`);
    const trialOptions = { binaries, encoder, folder: own, compareSeconds, signal: leaving.signal };
    await runTrial(trial, trialOptions).finally(() => screen.finish());
    if (!options.json) console.log(`\n${reportTrial(trial, terminalColumns()).join("\n")}\n`);
  }
}

function tally(): string {
  const refused = trials.filter(({ refusal }) => refusal).length;
  const wrong = trials.filter(({ faults }) => faults.length > 0).length;
  return `${trials.length - refused - wrong} as shot, ${wrong} wrong, ${refused} refused`;
}
