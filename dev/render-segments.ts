/** `npm run render-segments`: N segments of one original, each decoded from its own byte ranges, and proven to be whole. */
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { findBinaries } from "../gpu-runner/media/binaries.ts";
import type { WholeBecause } from "../schemas/original-access.ts";
import { formatPercent, formatSize } from "./bar.ts";
import { openLiveScreen } from "./live-screen.ts";
import { misuse } from "./misuse.ts";
import { bad, dim, good, terminalColumns, warm } from "./paint.ts";
import { readJson } from "./private-file.ts";
import { cutIntoSegments } from "./render-plan.ts";
import { isProven, newRenderState, type RenderState, renderSegments } from "./render-run.ts";
import { renderProgress, reportRender, summarizeRender } from "./render-view.ts";
import { readAsset, requestOriginalAccess } from "./stack-client.ts";
import { StackFile } from "./stack-file.ts";

const mostSegments = 100;

const help = `Usage: npm run render-segments -- FILEID [options]

Acts as N render nodes of one original: asks for the byte ranges of N segments,
reads nothing but these, straight from Wasabi, into N sparse files, and decodes
them all at once with ffmpeg. FILEID is an asset of a running stack whose
original is a MOV or MP4.

  --segments N     of equal length, 1 to ${mostSegments}     [4]
  --from S         seconds at which the first begins     [0]
  --to S           seconds at which the last ends        [the movie's end]
  --verify         read the whole file too, decode the same stretches of it, and
                   compare every frame
  --stack FILE     the running stack                     [.stack/stack.json]
  --help

Exits 0 only if every segment was decoded and, with --verify, every frame of each
is the whole file's. Temporary files are removed however it ends.`;

const reasons: Record<WholeBecause, string> = {
  "not-asked": "no time ranges were asked for",
  "not-mov-or-mp4": "it is neither MOV nor MP4",
  fragmented: "its index is spread over the file",
  "index-too-large": "its index is too large",
  "index-unreadable": "its index cannot be understood",
  "index-unreachable": "Wasabi did not answer just now",
};

const command = "npm run render-segments --";

function fail(message: string): never {
  console.error(`${bad("✗")} ${message}`);
  process.exit(1);
}

function numberOption(name: string, text: string): number {
  const value = text.trim() === "" ? Number.NaN : Number(text);
  return Number.isFinite(value) && value >= 0 ? value : misuse(command, `--${name} takes a number, not ${text}.`);
}

function parseOptions() {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        segments: { type: "string", default: "4" },
        from: { type: "string", default: "0" },
        to: { type: "string" },
        verify: { type: "boolean", default: false },
        stack: { type: "string", default: fileURLToPath(new URL("../.stack/stack.json", import.meta.url)) },
        help: { type: "boolean", default: false, short: "h" },
      },
    });
    return { ...values, positionals };
  } catch (error) {
    return misuse(command, (error as Error).message);
  }
}

async function openStack(path: string): Promise<StackFile> {
  const stack = await readJson(path, StackFile);
  if (stack === null) throw new Error(`There is no ${path}. Start a stack with npm start.`);
  if (Object.keys(stack.pids).length === 0) throw new Error(`The stack of ${path} is down. Start it with npm start.`);
  return stack;
}

type Asked = { fileId: string; count: number; fromSeconds: number; toSeconds: number | null; verify: boolean };

async function openJob(stack: StackFile, { fileId, count, fromSeconds, toSeconds, verify }: Asked) {
  const { fileName, source, state } = await readAsset(stack, fileId);
  if (source === null) throw new Error(`The asset is ${state}: its length is not known before it was probed.`);
  const endSeconds = Math.min(toSeconds ?? source.durationSeconds, source.durationSeconds);
  const stretch = { startSeconds: fromSeconds, endSeconds };
  const timeRanges = cutIntoSegments(stretch, { count, fps: source.fps });
  const grant = await requestOriginalAccess(stack, fileId, { timeRanges });
  if (grant.wholeBecause !== null) {
    throw new Error(`This original can only be read whole: ${reasons[grant.wholeBecause]}.`);
  }
  return { fileName, fps: source.fps, grant, verify };
}

function report(state: RenderState): void {
  const columns = process.stdout.isTTY ? terminalColumns() : Number.POSITIVE_INFINITY;
  console.log(`\n${reportRender(state, columns).join("\n")}`);
  const readBytes = state.segments.reduce((sum, segment) => sum + segment.readBytes, 0);
  const share = `${formatSize(readBytes)} read for all segments, ${formatPercent(readBytes / state.sizeBytes / state.segments.length)} of the file by each`;
  console.log(`\n  ${dim(share)}`);
}

const options = parseOptions();
if (options.help) {
  console.log(help);
  process.exit(0);
}
const [fileId, ...others] = options.positionals;
if (fileId === undefined || others.length > 0) misuse(command, "One FILEID is needed.");
const count = numberOption("segments", options.segments);
if (!Number.isInteger(count) || count < 1 || count > mostSegments)
  misuse(command, `--segments takes 1 to ${mostSegments}.`);
const fromSeconds = numberOption("from", options.from);
const toSeconds = options.to === undefined ? null : numberOption("to", options.to);

const leaving = new AbortController();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => leaving.abort(new Error("stopped")));
}

const binaries = await findBinaries(process.env).catch((error: Error) => fail(error.message));
for (const warning of binaries.warnings) console.error(`${warm("!")} ${warning}`);
const asked = { fileId, count, fromSeconds, toSeconds, verify: options.verify };
const job = await openStack(resolve(options.stack))
  .then((stack) => openJob(stack, asked))
  .catch((error: Error) => fail(error.message));
const state = newRenderState(job);
const screen = openLiveScreen(process.stdout, [
  { lines: (columns) => renderProgress(state, columns), summary: () => summarizeRender(state) },
]);
await renderSegments(binaries, job, state, leaving.signal).finally(() => screen.finish());
report(state);
if (leaving.signal.aborted) process.exit(130);
if (!isProven(state)) fail("Not every segment came out as it should.");
console.log(
  `${good("✓")} ${state.whole === null ? "decoded; compare with --verify" : "every frame is the whole file's"}`,
);
