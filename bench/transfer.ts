/**
 * Wasabi → R2: what the pipeline's checks and steps cost over merely piping the same bytes, and what its parallel parts
 * gain where each connection is limited. Measured from outside, by the asset's own history.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { HistoryPage } from "../schemas/api.ts";
import type { HistoryEntry } from "../schemas/asset.ts";
import { proxyKey } from "../schemas/key.ts";
import { whenToldToLeave, wholeNumbers } from "./bench-options.ts";
import { type Bench, figureOf, median, printFigures, promiseLine, say, saySometimes } from "./figure.ts";
import { cpuSecondsOf } from "./process-cost.ts";
import { copyByRclone } from "./rclone.ts";
import { benchOwner, deliverRendition } from "./stand-in-runner.ts";
import { benchQuality, openStage, settleDisk, type TransferStage } from "./transfer-stage.ts";

const mib = 1024 ** 2;
const mb = 1e6;
const bareShape = { partSizeBytes: 64 * mib, partsAtOnce: 4 };
/** The limit is steady: a part of the object tells a single connection's rate. */
const singleConnectionBytes = 256 * mib;
/** Seldom: the history has the times, and asking costs the worker the processor that it copies with. */
const historyEveryMs = 1_000;
const placeTimeoutMs = 30 * 60_000;

const help = `Usage: npm run bench -- transfer [options]

  transfer-overhead   seconds from "archived" to "placed on R2" in the pipeline, checks
                      included, against a bare worker that pipes ranged fetches into
                      uploadPart (64 MiB parts, 4 at a time). Promise: ratio <= 1.15
  transfer-parallel   MB/s of the pipeline where each connection to Wasabi is limited,
                      against the bare worker on one connection. Promise, at 20 MB/s:
                      ratio >= 3.5. A machine whose local R2 takes less than that in all
                      (see "bare, 4 at a time") shows it at a lower limit only

A stack on a temporary folder, a stand-in for the runner, random bytes. Until the
end, each of the runs keeps four times the size on the disk.

  --size-mib N   size of the rendition; less than four parts of 64 MiB
                 cannot show what parallel parts gain                  [1024]
  --runs N       of each, alternating; medians                         [3]
  --limit-mb N   of each connection, MB/s                              [20]
  --help`;

interface Options {
  sizeBytes: number;
  runs: number;
  limitBytesPerSecond: number;
}

function parseOptions(args: string[]): Options {
  const numbers = wholeNumbers(args, {
    "size-mib": { most: 64 * 1024, unless: 1024 },
    runs: { most: 99, unless: 3 },
    "limit-mb": { most: 10_000, unless: 20 },
  });
  return {
    sizeBytes: numbers["size-mib"] * mib,
    runs: numbers.runs,
    limitBytesPerSecond: numbers["limit-mb"] * mb,
  };
}

/** The newest first. A large transfer tells more than one page of facts. */
async function historyOf({ stack }: TransferStage, fileId: string): Promise<HistoryEntry[]> {
  const entries: HistoryEntry[] = [];
  let cursor: string | null = null;
  do {
    const query: string = cursor === null ? "" : `?cursor=${encodeURIComponent(cursor)}`;
    const response = await fetch(`${stack.api}/v1/assets/${fileId}/history${query}`, {
      headers: { authorization: `Bearer ${stack.tokens.viewer}` },
      signal: AbortSignal.timeout(30_000),
    });
    if (!response.ok) throw new Error(`the history answered ${response.status}`);
    const page = HistoryPage.parse(await response.json());
    entries.push(...page.entries);
    cursor = page.cursor;
  } while (cursor !== null);
  return entries;
}

/** Seconds from the moment that the rendition was archived, when its copy is ordered, to the one when it is placed. */
async function placementSeconds(stage: TransferStage, fileId: string, signal: AbortSignal): Promise<number> {
  const deadlineMs = performance.now() + placeTimeoutMs;
  while (performance.now() < deadlineMs) {
    const entries = await historyOf(stage, fileId);
    const trouble = entries.find(({ event }) => event === "StepDeferred" || event === "StepFailed");
    if (trouble !== undefined) throw new Error(`a step did not go through: ${JSON.stringify(trouble.detail)}`);
    const atMs = (name: string) => Date.parse(entries.find(({ event }) => event === name)?.at ?? "");
    const tookMs = atMs("CopyPlaced") - atMs("RenditionArchived");
    if (!Number.isNaN(tookMs)) return tookMs / 1_000;
    await sleep(historyEveryMs, undefined, { signal });
  }
  throw new Error("the copy was not placed in time");
}

interface PipelineRun {
  seconds: number;
  /** The object in Wasabi that was copied. */
  key: string;
}

async function runPipeline(stage: TransferStage, { sizeBytes }: Options, signal: AbortSignal): Promise<PipelineRun> {
  const percent = (bytes: number) => `${Math.round((100 * bytes) / sizeBytes)} %`;
  let cpuBefore: number | null = null;
  const fileId = await deliverRendition(stage.stack, {
    sizeBytes,
    signal,
    onProgress: (bytes) => saySometimes(`    uploading the rendition: ${percent(bytes)}`),
    async beforeReport() {
      await settleDisk();
      cpuBefore = cpuSecondsOf(stage.pids().worker);
    },
  });
  const seconds = await placementSeconds(stage, fileId, signal);
  tell("pipeline", sizeBytes, seconds, cpuBefore, stage.pids().worker);
  return { seconds, key: proxyKey({ ...benchOwner, fileId }, benchQuality) };
}

async function runBare(stage: TransferStage, key: string, sizeBytes: number, partsAtOnce: number): Promise<number> {
  await settleDisk();
  const cpuBefore = cpuSecondsOf(stage.pids().bare);
  const seconds = await stage.copyBare(key, { sizeBytes, ...bareShape, partsAtOnce });
  tell(`bare, ${partsAtOnce} at a time`, sizeBytes, seconds, cpuBefore, stage.pids().bare);
  return seconds;
}

function tell(who: string, sizeBytes: number, seconds: number, cpuBefore: number | null, pid: number): void {
  const cpuNow = cpuSecondsOf(pid);
  const cpu = cpuBefore === null || cpuNow === null ? "" : `, ${(cpuNow - cpuBefore).toFixed(1)} s of processor time`;
  say(`    ${who}: ${seconds.toFixed(1)} s, ${(sizeBytes / mb / seconds).toFixed(1)} MB/s${cpu}`);
}

async function measureOverhead(stage: TransferStage, options: Options, signal: AbortSignal) {
  const pipeline: number[] = [];
  const bare: number[] = [];
  for (let run = 1; run <= options.runs; run++) {
    say(`  run ${run} of ${options.runs}`);
    const { seconds, key } = await runPipeline(stage, options, signal);
    pipeline.push(seconds);
    bare.push(await runBare(stage, key, options.sizeBytes, bareShape.partsAtOnce));
    if (run === options.runs) await copyByRclone(stage, key, options.sizeBytes);
  }
  return figureOf("transfer-overhead", median(pipeline), median(bare));
}

async function measureParallel(stage: TransferStage, options: Options, signal: AbortSignal) {
  await stage.limitWasabi(options.limitBytesPerSecond);
  const { sizeBytes } = options;
  const singleBytes = Math.min(sizeBytes, singleConnectionBytes);
  const pipeline: number[] = [];
  const single: number[] = [];
  for (let run = 1; run <= options.runs; run++) {
    say(`  run ${run} of ${options.runs}`);
    const { seconds, key } = await runPipeline(stage, options, signal);
    pipeline.push(sizeBytes / mb / seconds);
    single.push(singleBytes / mb / (await runBare(stage, key, singleBytes, 1)));
    // For scale only: what local R2 itself lets through.
    if (run === options.runs) await runBare(stage, key, sizeBytes, bareShape.partsAtOnce);
  }
  return figureOf("transfer-parallel", median(pipeline), median(single));
}

async function run(args: string[]): Promise<void> {
  const options = parseOptions(args);
  const leaving = whenToldToLeave();
  say("starting the stack and the bare worker");
  const stage = await openStage(leaving);
  try {
    say(`transfer-overhead: ${options.sizeBytes / mib} MiB, pipeline and bare worker in turn`);
    const overhead = await measureOverhead(stage, options, leaving);
    say(
      `transfer-parallel: ${options.sizeBytes / mib} MiB, each connection limited to ${options.limitBytesPerSecond / mb} MB/s`,
    );
    const parallel = await measureParallel(stage, options, leaving);
    say(promiseLine(overhead, { atMost: 1.15 }));
    say(promiseLine(parallel, { atLeast: 3.5 }));
    printFigures([overhead, parallel]);
  } finally {
    await stage.close();
  }
}

export const transferBench: Bench = {
  says: "Wasabi → R2: the cost of the checks, the gain of parallel parts",
  help,
  run,
};
