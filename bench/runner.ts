/**
 * The runner's media core end to end against a bare ffmpeg: what the range proxy, the rewriting and the uploads cost over
 * an ffmpeg that reads a local file and writes local files with the same arguments. A real runner against a real stack.
 */
import { whenToldToLeave, wholeNumbers } from "./bench-options.ts";
import { type Bench, figureOf, median, printFigures, promiseLine, say } from "./figure.ts";
import { openRunnerStage, type RunCost, type RunnerStage } from "./runner-stage.ts";
import { settleDisk } from "./transfer-stage.ts";

const cpuPromise = 1.05;
const wallPromise = 1.1;

const help = `Usage: npm run bench -- runner [options]

  runner-cpu    processor seconds of the runner and its ffmpeg and ffprobe for one job
                (range proxy, rewriting, digests, uploads), against a bare ffmpeg with
                the same arguments that reads a local file and writes local files.
                The store's and the worker's own time is not in it. Promise: ratio <= ${cpuPromise}
  runner-wall   seconds from the claim to the last uploaded rendition, against the bare
                ffmpeg's. The store and the worker share the machine. Promise: ratio <= ${wallPromise}

A stack on a temporary folder, the runner as a process of its own on libx264, a made
clip of 1080p with sound and the whole ladder.

  --seconds N    length of the clip                                    [60]
  --runs N       of each, alternating; medians                         [3]
  --help`;

interface Options {
  seconds: number;
  runs: number;
}

function parseOptions(args: string[]): Options {
  return wholeNumbers(args, { seconds: { most: 3600, unless: 60 }, runs: { most: 99, unless: 3 } });
}

function tell(who: string, { wallSeconds, cpuSeconds, ownCpuSeconds }: RunCost): void {
  const own = ownCpuSeconds > 0 ? `, ${ownCpuSeconds.toFixed(1)} s of it in Node` : "";
  say(`    ${who}: ${wallSeconds.toFixed(1)} s, ${cpuSeconds.toFixed(1)} s of processor time${own}`);
}

async function measure(stage: RunnerStage, { runs }: Options): Promise<{ runner: RunCost[]; bare: RunCost[] }> {
  const runner: RunCost[] = [];
  const bare: RunCost[] = [];
  const once = {
    runner: async () => {
      const cost = await stage.runJob();
      tell("runner", cost);
      runner.push(cost);
    },
    bare: async () => {
      const cost = await stage.runBare();
      tell("bare", cost);
      bare.push(cost);
    },
  };
  for (let run = 1; run <= runs; run++) {
    say(`  run ${run} of ${runs}`);
    // The first of a pair finds other caches than the second: each is first in turn.
    for (const who of run % 2 === 1 ? (["runner", "bare"] as const) : (["bare", "runner"] as const)) {
      await settleDisk();
      await once[who]();
    }
  }
  return { runner, bare };
}

async function run(args: string[]): Promise<void> {
  const options = parseOptions(args);
  const leaving = whenToldToLeave();
  say(`making a clip of ${options.seconds} s, starting the stack and the runner`);
  const stage = await openRunnerStage(options.seconds, leaving);
  try {
    const { runner, bare } = await measure(stage, options);
    const of = (costs: RunCost[], read: (cost: RunCost) => number) => median(costs.map(read));
    const cpu = figureOf(
      "runner-cpu",
      of(runner, (cost) => cost.cpuSeconds),
      of(bare, (cost) => cost.cpuSeconds),
    );
    const wall = figureOf(
      "runner-wall",
      of(runner, (cost) => cost.wallSeconds),
      of(bare, (cost) => cost.wallSeconds),
    );
    say(promiseLine(cpu, { atMost: cpuPromise }));
    say(promiseLine(wall, { atMost: wallPromise }));
    printFigures([cpu, wall]);
  } finally {
    await stage.close();
  }
}

export const runnerBench: Bench = {
  says: "the runner's own cost over a bare ffmpeg: processor time and wall time",
  help,
  run,
};
