/** `npm run faults`: sends files through the pipeline while things go wrong, and proves that nothing was lost or left. */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { findBinaries } from "../gpu-runner/media/binaries.ts";
import { formatDuration } from "./bar.ts";
import { planRun, type RunPlan } from "./fault-plan.ts";
import { coverageTables } from "./fault-report.ts";
import { carryOutRun, describePlan, type RunResult } from "./fault-run.ts";
import { makeClips } from "./fault-upload.ts";
import { misuse } from "./misuse.ts";
import { bad, bold, dim, good, terminalColumns } from "./paint.ts";

const help = `Usage: npm run faults [-- options]

Each run starts a stack of its own, brings a short clip from the webhook to rest
while one to three faults strike it (kill -9 of a process or of everything, a
network that refuses, cuts, stalls, throttles or sheds load, an R2 that errs), and
then compares the bytes of every copy and looks for anything left over. Which file,
which faults and when follow from the seed alone.

  --seed N     the same seed gives the same runs                      [chosen, and told]
  --runs M     how many                                               [30]
  --run K      only this one of them: what a failure tells you to repeat
  --keep       leave the disks and logs of runs that failed
  --help

MMF_S3=ceph puts Ceph's S3 server in the place of Miniflare's.
Faults that heal must end in "distributed", those that never heal in "failed" with
the true reason. Exits 0 only if every run ended so. Takes about a minute a run.`;

const command = "npm run faults --";

function fail(message: string): never {
  console.error(`${bad("✗")} ${message}`);
  process.exit(1);
}

function wholeNumber(name: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  return misuse(command, `--${name} takes a number from ${min} to ${max}, not "${text}".`);
}

function parseOptions() {
  try {
    const { values } = parseArgs({
      options: {
        seed: { type: "string" },
        runs: { type: "string", default: "30" },
        run: { type: "string" },
        keep: { type: "boolean", default: false },
        help: { type: "boolean", default: false, short: "h" },
      },
    });
    return values;
  } catch (error) {
    return misuse(command, (error as Error).message);
  }
}

const largestSeed = 2 ** 31 - 1;
const options = parseOptions();
if (options.help) {
  console.log(help);
  process.exit(0);
}
if (!existsSync("/proc/self/stat")) fail("This needs Linux: it reads /proc to find what a killed stack has left.");
const seed =
  options.seed === undefined
    ? Math.floor(Math.random() * largestSeed)
    : wholeNumber("seed", options.seed, 0, largestSeed);
const runs = wholeNumber("runs", options.runs, 1, 10_000);
const only = options.run === undefined ? null : wholeNumber("run", options.run, 1, 10_000);
const plans: RunPlan[] =
  only === null ? Array.from({ length: runs }, (_, index) => planRun(seed, index + 1)) : [planRun(seed, only)];

console.log(`${bold("seed")} ${seed} ${dim(`· ${plans.length === 1 ? "1 run" : `${plans.length} runs`}`)}`);
const binaries = await findBinaries(process.env).catch((error: Error) => fail(error.message));
const folder = mkdtempSync(join(tmpdir(), "mmf-faults-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
// Each run's own exit handler ends its stack.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => process.exit(130));
const clips = await makeClips(binaries, folder);

const results: RunResult[] = [];
for (const plan of plans) {
  console.log(`\n${bold(`run ${plan.run}`)}  ${describePlan(plan)}`);
  const result = await carryOutRun(plan, clips, { keep: options.keep, say: (line) => console.log(dim(line)) });
  results.push(result);
  if (result.complaints.length === 0) {
    console.log(`  ${good("✓")} as promised, after ${formatDuration(result.tookMs)}`);
    if (result.folder !== null) rmSync(result.folder, { recursive: true, force: true });
    continue;
  }
  for (const complaint of result.complaints) console.log(`  ${bad("✗")} ${complaint}`);
  console.log(`    again: ${bold(`npm run faults -- --seed ${seed} --run ${plan.run} --keep`)}`);
  if (result.folder !== null) console.log(`    logs and disks: ${result.folder}`);
}

const outcomes = results.flatMap((result) => result.outcomes);
console.log(`\n${coverageTables(outcomes, terminalColumns()).join("\n")}`);
const promised = results.filter(({ complaints }) => complaints.length === 0).length;
const mark = promised === results.length ? good("✓") : bad("✗");
console.log(`\n${mark} ${bold(`${promised} of ${results.length} runs as promised`)}  ${dim(`seed ${seed}`)}`);
process.exit(promised === results.length ? 0 : 1);
