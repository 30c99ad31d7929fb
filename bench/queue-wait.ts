/** How long a completion waits while nine originals of 100 GB are copied in bulk, against how long it takes when none is. */
import { randomBytes, randomUUID } from "node:crypto";
import { eventually } from "../dev/eventually.ts";
import { readAsset, readHistory, sendUploadWebhook } from "../dev/stack-client.ts";
import { whenToldToLeave, wholeNumbers } from "./bench-options.ts";
import { type BulkStore, bulkBytes, bulkMark } from "./bulk-store.ts";
import { type Bench, figureOf, median, printFigures, promiseLine, say } from "./figure.ts";
import { announceOriginal, benchOwner, deliverJob } from "./stand-in-runner.ts";
import { openStage, type TransferStage } from "./transfer-stage.ts";

const bulkOriginals = 9;
const renditionBytes = 1024 ** 2;
const waitMs = 10 * 60_000;

const help = `Usage: npm run bench -- queue-wait [options]

  queue-wait   seconds from "uploaded" to "archived" of a small rendition while nine
               originals of 100 GB are copied part by part, against the same with
               no copy under way. Promise: ratio <= 3

A stack on a temporary folder. The 100 GB and their part copies are a stand-in's: no
byte of them moves, each part takes as long as --part-ms says. A local queue hands out
one message at a time, so that what waits behind a bulk copy waits for all of it.

  --runs N      of each; medians                                       [3]
  --part-ms N   that the copy of one part takes                        [2000]
  --help`;

async function announceBulk(stage: TransferStage): Promise<void> {
  for (let n = 1; n <= bulkOriginals; n += 1) {
    const fileId = randomBytes(12).toString("hex");
    const source = { kind: "wasabi" as const, key: `incoming/${bulkMark}-${n}.mov` };
    const data = { ...benchOwner, fileId, fileName: `${bulkMark}.mov`, sizeBytes: bulkBytes, source };
    const webhook = { type: "upload.completed" as const, timestamp: new Date().toISOString(), data };
    await sendUploadWebhook(stage.stack, webhook, `msg_${randomUUID()}`);
  }
}

/** An original whose job waits for a runner: its own archiving moves with the bulk, and is not what is measured. */
async function offeredJob({ stack }: TransferStage): Promise<string> {
  const fileId = await announceOriginal(stack);
  await eventually({ what: "a job", timeoutMs: waitMs }, async () => (await readAsset(stack, fileId)).jobId);
  return fileId;
}

async function completionSeconds({ stack }: TransferStage, fileId: string, signal: AbortSignal): Promise<number> {
  const { jobId, generation } = await readAsset(stack, fileId);
  if (jobId === null) throw new Error("the job is gone");
  const nothing = { onProgress: () => undefined, beforeReport: async () => undefined };
  await deliverJob(stack, { fileId, jobId, generation }, { sizeBytes: renditionBytes, signal, ...nothing });
  return eventually({ what: "the completion", timeoutMs: waitMs, everyMs: 250 }, async () => {
    const history = await readHistory(stack, fileId);
    const atMs = (name: string) => Date.parse(history.find(({ event }) => event === name)?.at ?? "");
    const tookMs = atMs("RenditionArchived") - atMs("RenditionUploaded");
    return Number.isNaN(tookMs) ? null : Math.max(0.001, tookMs / 1_000);
  });
}

async function measure(stage: TransferStage, jobs: readonly string[], signal: AbortSignal): Promise<number> {
  const seconds: number[] = [];
  for (const fileId of jobs) seconds.push(await completionSeconds(stage, fileId, signal));
  say(`    ${seconds.map((each) => each.toFixed(2)).join(", ")} s`);
  return median(seconds);
}

const isUnderWay = ({ parts }: BulkStore) => parts.under > 0 && parts.done > bulkOriginals;

async function run(args: string[]): Promise<void> {
  const numbers = wholeNumbers(args, { runs: { most: 99, unless: 3 }, "part-ms": { most: 60_000, unless: 2_000 } });
  const leaving = whenToldToLeave();
  const stage = await openStage(leaving);
  try {
    const store = await stage.standInForBulk(numbers["part-ms"]);
    const jobs: string[] = [];
    while (jobs.length < 2 * numbers.runs) jobs.push(await offeredJob(stage));
    say("no copy under way");
    const idle = await measure(stage, jobs.slice(0, numbers.runs), leaving);
    await announceBulk(stage);
    await eventually({ what: "the bulk", timeoutMs: waitMs }, () => isUnderWay(store));
    say(`${bulkOriginals} originals of ${bulkBytes / 1e9} GB under way`);
    const busy = await measure(stage, jobs.slice(numbers.runs), leaving);
    if (!isUnderWay(store)) throw new Error("the bulk ended meanwhile");
    const figure = figureOf("queue-wait", busy, idle);
    say(promiseLine(figure, { atMost: 3 }));
    printFigures([figure]);
  } finally {
    await stage.close();
  }
}

export const queueWaitBench: Bench = {
  says: "what a completion waits while nine 100 GB copies are under way",
  help,
  run,
};
