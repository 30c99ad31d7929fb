/**
 * Range requests: what the signed door costs over a worker that merely reads the range from R2. Both under workerd of the
 * same version, over the same kind of bucket on the same disk, with the same bytes, in turn.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { readAsset, requestPlayback } from "../dev/stack-client.ts";
import { whenToldToLeave, wholeNumbers } from "./bench-options.ts";
import { type Bench, type Figure, figureOf, median, printFigures, promiseLine, say } from "./figure.ts";
import { closedLoop, openLoop, percentile, type RangeTarget } from "./range-load.ts";
import { deliverRendition } from "./stand-in-runner.ts";
import { benchQuality, openStage, type TransferStage } from "./transfer-stage.ts";

const mib = 1024 ** 2;
/** Below one part, so that both buckets keep it in one piece. */
const sizeBytes = 48 * mib;
const connectionCounts = [1, 16, 64] as const;
const placeTimeoutMs = 120_000;
const lowestRate = 0.8;
const highestLateness = 1.5;

const help = `Usage: npm run bench -- delivery [options]

  delivery-rate-1, -16, -64   ranges a second through the signed door, by that many
                              connections that are kept, against a bare worker that does
                              nothing but R2.get(key, { range }). Promise: ratio >= ${lowestRate}
  delivery-p99                milliseconds, at half the rate that the bare worker reaches
                              with 16 connections, counted from when each request was due
                              (open loop). Promise: ratio <= ${highestLateness}

A stack on a temporary folder, a stand-in for the runner, ${sizeBytes / mib} MiB of random bytes;
ranges at random places. Door and bare worker in turn; medians, and p99 over all runs.

  --range-kib N   of each request                     [256]
  --seconds N     of each run                         [4]
  --runs N        of each                             [5]
  --help`;

interface Options {
  rangeBytes: number;
  seconds: number;
  runs: number;
}

function parseOptions(args: string[]): Options {
  const numbers = wholeNumbers(args, {
    "range-kib": { most: 16 * 1024, unless: 256 },
    seconds: { most: 600, unless: 4 },
    runs: { most: 99, unless: 5 },
  });
  return { rangeBytes: numbers["range-kib"] * 1024, seconds: numbers.seconds, runs: numbers.runs };
}

/** @returns the signed URL of a rendition that lies on R2 */
async function placeRendition({ stack }: TransferStage, signal: AbortSignal): Promise<string> {
  const fileId = await deliverRendition(stack, {
    sizeBytes,
    signal,
    onProgress: () => undefined,
    beforeReport: async () => undefined,
  });
  const deadlineMs = performance.now() + placeTimeoutMs;
  while ((await readAsset(stack, fileId)).state !== "distributed") {
    if (performance.now() > deadlineMs) throw new Error("the rendition was not placed in time");
    await sleep(500, undefined, { signal });
  }
  return (await requestPlayback(stack, fileId, benchQuality)).url;
}

/** The same bytes into the bare worker's bucket. @returns their URL there */
async function placeBare({ bare }: TransferStage, url: string): Promise<string> {
  const copy = `${bare.origin}/same-bytes`;
  const bytes = await (await fetch(url)).arrayBuffer();
  const put = await fetch(copy, { method: "PUT", body: bytes });
  if (!put.ok) throw new Error(`the bare worker answered ${put.status} to a PUT`);
  for (const range of ["bytes=0-99", "bytes=1000000-1999999"]) {
    const [ours, theirs] = await Promise.all([url, copy].map((from) => fetch(from, { headers: { range } })));
    const [left, right] = [await ours?.arrayBuffer(), await theirs?.arrayBuffer()];
    if (left === undefined || right === undefined || !Buffer.from(left).equals(Buffer.from(right))) {
      throw new Error(`the two answer ${range} differently`);
    }
  }
  return copy;
}

interface Pair {
  door: RangeTarget;
  bare: RangeTarget;
}

async function inTurn(
  { door, bare }: Pair,
  runs: number,
  measure: (target: RangeTarget) => Promise<number>,
): Promise<{ door: number; bare: number }> {
  const doors: number[] = [];
  const bares: number[] = [];
  for (let run = 0; run < runs; run++) {
    // Who is first changes: what the one leaves behind in caches helps the other as often.
    const turns = [async () => doors.push(await measure(door)), async () => bares.push(await measure(bare))];
    for (const turn of run % 2 === 0 ? turns : turns.reverse()) await turn();
    say(`    door ${doors.at(-1)?.toFixed(1)}, bare ${bares.at(-1)?.toFixed(1)}`);
  }
  return { door: median(doors), bare: median(bares) };
}

async function measureAll(pair: Pair, { seconds, runs }: Options): Promise<Figure[]> {
  for (const target of [pair.door, pair.bare]) await closedLoop(target, { connections: 16, seconds: 2 });
  const figures: Figure[] = [];
  let bareRate = 0;
  for (const connections of connectionCounts) {
    say(`  ranges a second, ${connections} at a time`);
    const rate = await inTurn(pair, runs, (target) => closedLoop(target, { connections, seconds }));
    if (connections === 16) bareRate = rate.bare;
    figures.push(figureOf(`delivery-rate-${connections}`, rate.door, rate.bare));
  }
  const perSecond = bareRate / 2;
  say(`  p99 in milliseconds, at ${perSecond.toFixed(0)} ranges a second`);
  // Over all runs: a stall of the machine or of a garbage collector hits one run and not the next, as often here as there.
  const took = new Map<RangeTarget, number[]>([pair.door, pair.bare].map((target) => [target, []]));
  await inTurn(pair, runs, async (target) => {
    const times = await openLoop(target, { perSecond, seconds: seconds * 4 });
    took.get(target)?.push(...times);
    return percentile(times, 99);
  });
  const p99 = (target: RangeTarget) =>
    percentile(
      (took.get(target) ?? []).sort((a, b) => a - b),
      99,
    );
  return [...figures, figureOf("delivery-p99", p99(pair.door), p99(pair.bare))];
}

async function run(args: string[]): Promise<void> {
  const options = parseOptions(args);
  const leaving = whenToldToLeave();
  say("starting the stack and the bare worker");
  const stage = await openStage(leaving);
  try {
    const url = await placeRendition(stage, leaving);
    const { rangeBytes } = options;
    const pair = {
      door: { url, sizeBytes, rangeBytes },
      bare: { url: await placeBare(stage, url), sizeBytes, rangeBytes },
    };
    const figures = await measureAll(pair, options);
    for (const figure of figures) {
      const late = figure.figure === "delivery-p99";
      say(promiseLine(figure, late ? { atMost: highestLateness } : { atLeast: lowestRate }));
    }
    printFigures(figures);
  } finally {
    await stage.close();
  }
}

export const deliveryBench: Bench = { says: "the signed door against a bare R2.get of the same range", help, run };
