/** What was accepted is listed: many upload webhooks at once, and how long the list takes to hold all of them. */
import { randomBytes, randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { startStack } from "../dev/stack.ts";
import type { StackFile } from "../dev/stack-file.ts";
import { signWebhook } from "../dev/standard-webhook.ts";
import { AssetPage } from "../schemas/api.ts";
import { originalKey } from "../schemas/key.ts";
import { whenToldToLeave, wholeNumbers } from "./bench-options.ts";
import { type Bench, figureOf, printFigures, promiseLine, say, saySometimes } from "./figure.ts";

const promisedSeconds = 10;
const lookEveryMs = 500;
const lookAtMostMs = 10 * 60_000;
/** On a busy machine the answers queue up. */
const answerTimeoutMs = 5 * 60_000;
const senders = 32;
const pageLength = 200;
const owner = { clientName: "bench", projectName: "catalogue", fileName: "A001.mov" };

const help = `Usage: npm run bench -- catalogue [options]

  catalogue-seconds   from the last webhook's answer until GET /v1/assets has shown
                      every file, against ${promisedSeconds} s. Promise: ratio <= 1

A whole local stack; nobody uploads what the webhooks announce, so that each asset looks
for its original again and again meanwhile, and changes.

  --webhooks N   how many                       [2900]
  --seconds N    sent evenly within this time, or as fast as ${senders} senders can   [20]
  --help`;

type Load = { webhooks: number; seconds: number };

/** @returns the ids that were accepted, once the last is answered */
async function announce(stack: StackFile, { webhooks, seconds }: Load, signal: AbortSignal): Promise<Set<string>> {
  const accepted = new Set<string>();
  const fromMs = performance.now();
  let next = 0;
  const send = async () => {
    for (let n = next++; n < webhooks; n = next++) {
      const dueMs = fromMs + (n * seconds * 1_000) / webhooks;
      await sleep(Math.max(0, dueMs - performance.now()), undefined, { signal });
      const fileId = randomBytes(12).toString("hex");
      await announceOne(stack, fileId, signal);
      accepted.add(fileId);
      saySometimes(`    ${accepted.size} of ${webhooks} accepted`);
    }
  };
  await Promise.all(Array.from({ length: senders }, send));
  say(`${accepted.size} accepted after ${((performance.now() - fromMs) / 1_000).toFixed(1)} s`);
  return accepted;
}

async function announceOne(stack: StackFile, fileId: string, signal: AbortSignal): Promise<void> {
  const source = { kind: "wasabi", key: originalKey({ ...owner, fileId }) };
  const data = { ...owner, fileId, sizeBytes: 1_000_000, source };
  const body = JSON.stringify({ type: "upload.completed", timestamp: new Date().toISOString(), data });
  const signed = signWebhook(stack.webhookSecret, `msg_${randomUUID()}`, new Date(), body);
  const response = await fetch(`${stack.api}/v1/webhooks/upload`, {
    method: "POST",
    headers: { "content-type": "application/json", ...signed },
    body,
    signal: AbortSignal.any([signal, AbortSignal.timeout(answerTimeoutMs)]),
  });
  if (response.status !== 202) throw new Error(`a webhook was answered ${response.status}: ${await response.text()}`);
  await response.arrayBuffer();
}

/** One pass over every page. */
async function listed(stack: StackFile, signal: AbortSignal): Promise<string[]> {
  const ids: string[] = [];
  let cursor: string | null = null;
  do {
    const url = new URL("/v1/assets", stack.api);
    url.searchParams.set("limit", String(pageLength));
    if (cursor !== null) url.searchParams.set("cursor", cursor);
    const headers = { authorization: `Bearer ${stack.tokens.viewer}` };
    const response = await fetch(url, {
      headers,
      signal: AbortSignal.any([signal, AbortSignal.timeout(answerTimeoutMs)]),
    });
    if (!response.ok) throw new Error(`the list answered ${response.status}: ${await response.text()}`);
    const page: AssetPage = AssetPage.parse(await response.json());
    ids.push(...page.assets.map(({ fileId }) => fileId));
    cursor = page.cursor;
  } while (cursor !== null);
  return ids;
}

async function untilListed(stack: StackFile, accepted: Set<string>, signal: AbortSignal): Promise<number> {
  const fromMs = performance.now();
  const left = new Set(accepted);
  for (;;) {
    for (const fileId of await listed(stack, signal)) left.delete(fileId);
    const tookMs = performance.now() - fromMs;
    if (left.size === 0) return tookMs / 1_000;
    if (tookMs > lookAtMostMs) throw new Error(`${left.size} files are not listed after ${tookMs} ms`);
    saySometimes(`    ${left.size} not listed yet`);
    await sleep(lookEveryMs, undefined, { signal });
  }
}

async function run(args: string[]): Promise<void> {
  const load = wholeNumbers(args, { webhooks: { most: 100_000, unless: 2_900 }, seconds: { most: 3_600, unless: 20 } });
  const signal = whenToldToLeave();
  const folder = await mkdtemp(join(tmpdir(), "mmf-bench-catalogue-"));
  const shape = { port: 0, runners: 0, agent: false, restart: false, faults: false, policy: null };
  const stack = await startStack({ ...shape, dataDirectory: join(folder, "data"), signal });
  const killNow = () => stack.killNow();
  process.prependListener("exit", killNow);
  try {
    const accepted = await announce(stack.file(), load, signal);
    const seconds = figureOf("catalogue-seconds", await untilListed(stack.file(), accepted, signal), promisedSeconds);
    say(promiseLine(seconds, { atMost: 1 }));
    printFigures([seconds]);
  } finally {
    await stack.stop();
    process.off("exit", killNow);
    await rm(folder, { recursive: true, force: true });
  }
}

export const catalogueBench: Bench = {
  says: "how soon the list holds what a burst of webhooks announced",
  help,
  run,
};
