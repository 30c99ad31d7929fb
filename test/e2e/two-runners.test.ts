/**
 * Several runners on one stack: rush jobs go first, a job that is given back or lost goes to another, and however often
 * runners are killed, nothing is made twice and nothing is left over.
 */
import { chmod } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { compositeSha256 } from "../../dev/composite-checksum.ts";
import { eventually } from "../../dev/eventually.ts";
import { isRunning, programOf } from "../../dev/process-table.ts";
import { seededRandom } from "../../dev/seeded-random.ts";
import { defaultLadder } from "../../schemas/ladder.ts";
import type { HistoryEntry } from "./asset-document.ts";
import { ClipFolder } from "./media-clip.ts";
import { decodingErrors } from "./media-file.ts";
import { type PipelineClient, proxyKeyOf } from "./pipeline-client.ts";
import { expectRest } from "./resting-stack.ts";
import { RunnerProcess } from "./runner-process.ts";
import { StackProcess } from "./stack-process.ts";

const jobs = 20;
const kills = 20;
/** Told by the test's name; MMF_SEED replays a run. */
const seed = Number(process.env.MMF_SEED ?? Date.now() % 1_000_000);

const healTimeoutMs = 240_000;
const stepTimeoutMs = 120_000;

/** Small pictures, as runners are tested here and not encoders; short leases, so that what is lost is soon offered again. */
const policy = {
  leaseMs: 8_000,
  backoff: { baseMs: 1_000, maxMs: 4_000 },
  // On a machine that is busy with other things runners fall silent without being killed.
  transcodeAttempts: 20,
  placement: { lucidlink: false },
  ladder: {
    ...defaultLadder,
    partSizeBytes: 5 * 1024 * 1024,
    rungs: [
      { quality: "360p", shortSidePx: 72, maxRateBps: 800_000, crf: 22, cq: 23 },
      { quality: "540p", shortSidePx: 360, maxRateBps: 60_000_000, crf: 4, cq: 23 },
    ],
  },
};

let stack: StackProcess;
let clips: ClipFolder;
let client: PipelineClient;
let films: string[];
const fileIds: string[] = [];
const runners = new Set<RunnerProcess>();

beforeAll(async () => {
  [clips, stack] = await Promise.all([
    ClipFolder.make(),
    StackProcess.start({ policy, flags: ["--no-runner", "--no-agent"] }),
  ]);
  client = await stack.client();
  // The last one's 540p is of two parts, of which one is stored while the rest is still encoded.
  films = await Promise.all([
    clips.clip({ width: 640, height: 360, seconds: 1 }),
    clips.clip({ width: 640, height: 360, seconds: 1, sound: false }),
    clips.clip({ width: 640, height: 360, seconds: 2, grain: 50 }),
  ]);
});

afterAll(async () => {
  await stack?.destroy();
  await clips?.remove();
});

afterEach(async () => {
  await Promise.all([...runners].map((runner) => end(runner)));
  await expectRest(stack, client, fileIds);
}, 180_000);

async function start(
  runnerId: string,
  args: string[] = [],
  variables: Record<string, string> = {},
): Promise<RunnerProcess> {
  const runner = await RunnerProcess.start(stack, runnerId, args, variables);
  runners.add(runner);
  return runner;
}

async function end(runner: RunnerProcess, signal: NodeJS.Signals = "SIGTERM"): Promise<number | NodeJS.Signals> {
  runner.signal(signal);
  const how = await runner.exited;
  runners.delete(runner);
  return how;
}

async function ingest(film: string, options: { priority?: number } = {}): Promise<string> {
  const { fileId } = await client.ingest(film, options);
  fileIds.push(fileId);
  return fileId;
}

const filmOf = (index: number) => films[index % films.length] ?? "";

async function claimsOf(fileId: string): Promise<HistoryEntry[]> {
  return (await client.history(fileId)).filter(({ event }) => event === "TranscodeClaimed");
}

/** Once it was archived, a rendition is not opened again in its job, and nobody else's archive follows. */
async function expectMadeOnce(fileId: string): Promise<void> {
  const asset = await client.asset(fileId);
  const history = await client.history(fileId);
  expect(asset.renditions.map(({ quality }) => quality).sort(), fileId).toEqual(["360p", "540p"]);
  for (const { quality, jobId, sizeBytes, sha256 } of asset.renditions) {
    const of = (event: string) => history.filter((entry) => entry.event === event && entry.detail.quality === quality);
    const what = `${fileId} ${quality}`;
    expect(of("RenditionArchived"), what).toHaveLength(1);
    expect(of("RenditionArchived")[0]?.detail.jobId, what).toBe(asset.jobId);
    expect(jobId, what).toBe(asset.jobId);
    const archivedAt = of("RenditionArchived")[0]?.revision ?? 0;
    const later = [...of("UploadOpened"), ...of("RenditionUploaded")].filter(({ revision }) => revision > archivedAt);
    expect(later, `${what}: encoded again`).toEqual([]);
    const bytes = await client.getWasabi(proxyKeyOf(asset, quality));
    expect(bytes.length, what).toBe(sizeBytes);
    expect(compositeSha256(bytes, sha256?.partSizeBytes ?? 1), what).toBe(sha256?.composite);
  }
}

test("with one slot and a backlog, a rush job is next; a draining runner works all of it off and exits with 0", async () => {
  const normal = await Promise.all([0, 0, 0].map((index) => ingest(filmOf(index))));
  for (const fileId of normal) await client.followTo(fileId, "archived", stepTimeoutMs);
  const rush = await ingest(filmOf(0), { priority: 90 });
  await client.followTo(rush, "archived", stepTimeoutMs);

  const runner = await start("drain", ["--drain"]);
  expect(await runner.exited).toBe(0);
  runners.delete(runner);
  const claimed = runner.lines.filter(({ msg }) => msg === "claimed").map(({ fileId }) => fileId);
  expect(claimed[0]).toBe(rush);
  expect(new Set(claimed)).toEqual(new Set([rush, ...normal]));
  for (const fileId of [rush, ...normal]) await client.followTo(fileId, "distributed", stepTimeoutMs);
});

test("SIGTERM gives a job back, and another runner that waits takes it before any lease is over", async () => {
  const film = await clips.clip({ width: 640, height: 360, seconds: 6 });
  const pair = await Promise.all(["one", "other"].map(async (name) => ({ name, runner: await start(name) })));
  for (const { name, runner } of pair) {
    await eventually({ what: name, timeoutMs: stepTimeoutMs }, () =>
      runner.lines.some(({ msg }) => msg.startsWith("runner ready")),
    );
  }
  const fileId = await ingest(film);
  const first = await eventually({ what: "the first claim", timeoutMs: stepTimeoutMs, everyMs: 20 }, () =>
    pair.find(({ runner }) => runner.busyWith().includes(fileId)),
  );
  expect(await end(first.runner)).toBe(0);
  const names = [first.name, ...pair.map(({ name }) => name).filter((name) => name !== first.name)];
  await client.followTo(fileId, "distributed", healTimeoutMs);
  const events = (await client.history(fileId)).map(({ event }) => event);
  expect(events).toContain("LeaseReleased");
  expect(events).not.toContain("LeaseExpired");
  expect((await claimsOf(fileId)).map(({ by }) => by)).toEqual(names.map((name) => `runner:${name}`));
  await expectMadeOnce(fileId);
});

/** One that probes, and does not encode: it fails, once `isDue` is there. */
async function brokenFfmpeg(isDue = "/"): Promise<string> {
  const fails = `while [ ! -e '${isDue}' ]; do sleep 0.1; done; exit 1`;
  const script = `#!/bin/sh\ncase "$*" in *filter_complex*) ${fails};; esac\nexec ffmpeg "$@"\n`;
  const broken = await clips.write("ffmpeg.sh", script);
  await chmod(broken, 0o755);
  return broken;
}

test("a runner whose ffmpeg is broken stops after three assets, and a good one makes all that it failed", async () => {
  const bad = await start("bad", [], { FFMPEG_PATH: await brokenFfmpeg() });
  const mine = await Promise.all([0, 1, 2].map((index) => ingest(filmOf(index))));
  const says = (text: string) => bad.lines.some(({ msg }) => msg.includes(text));
  await eventually({ what: "the end of its pulling", timeoutMs: stepTimeoutMs }, () => says("has stopped pulling"));
  await start("good");
  for (const fileId of mine) {
    await client.followTo(fileId, "distributed", healTimeoutMs);
    expect((await claimsOf(fileId)).at(-1)?.by).toBe("runner:good");
    await expectMadeOnce(fileId);
  }
  expect(await end(bad), "it did not end well").toBe(1);
});

test("an asset that failed on a bad runner goes to a good one that idles, and not to the bad one again", async () => {
  const isDue = join(clips.path, "good-is-ready");
  const bad = await start("bad", [], { FFMPEG_PATH: await brokenFfmpeg(isDue) });
  const fileId = await ingest(filmOf(0));
  // The bad one is the first, and fails only when the good one idles.
  await eventually({ what: "its claim", timeoutMs: stepTimeoutMs, everyMs: 20 }, () => bad.busyWith().includes(fileId));
  const good = await start("good");
  await eventually({ what: "a good runner", timeoutMs: stepTimeoutMs }, () =>
    good.lines.some(({ msg }) => msg.startsWith("runner ready")),
  );
  await clips.write("good-is-ready", "");
  await client.followTo(fileId, "distributed", healTimeoutMs);
  expect((await claimsOf(fileId)).map(({ by }) => by)).toEqual(["runner:bad", "runner:good"]);
  await expectMadeOnce(fileId);
});

/** Where in a job the axe falls: at a line of its log, and a little later. */
const moments = ["claimed", "probed", "uploaded"] as const;

/** Kills a runner that has a job, at a moment chosen by the seed, and looks that its ffmpeg goes with it. */
async function strike(pair: Map<string, RunnerProcess>, random: ReturnType<typeof seededRandom>): Promise<string> {
  const busy = await eventually({ what: "a claim", timeoutMs: stepTimeoutMs, everyMs: 20 }, () => {
    const found = [...pair].filter(([, runner]) => runner.busyWith().length > 0);
    return found.length > 0 && found;
  });
  const [name, runner] = random.shuffle(busy)[0] ?? ["", undefined];
  const [fileId] = runner?.busyWith() ?? [];
  if (runner === undefined || fileId === undefined) throw new Error("nobody is busy");
  const moment = random.pick(moments);
  const delayMs = random.below(500);
  const reached = () => runner.lines.some((line) => line.msg === moment && line.fileId === fileId);
  const over = () => !runner.busyWith().includes(fileId);
  await eventually({ what: moment, timeoutMs: stepTimeoutMs, everyMs: 5 }, () => reached() || over());
  if (moment !== "uploaded") await sleep(delayMs);
  const at = over() ? "idle" : moment;
  const encoders = stack
    .processes()
    .filter((entry) => entry.parentPid === runner.pid && /^ff(mpeg|probe)/.test(programOf(entry)))
    .map(({ pid }) => pid);
  await end(runner, "SIGKILL");
  pair.set(name, await start(name));
  await eventually({ what: "the end of its ffmpeg", timeoutMs: stepTimeoutMs }, () => !encoders.some(isRunning));
  return at;
}

test(`two runners, killed ${kills} times over ${jobs} jobs: every asset is distributed, each rendition made once (seed ${seed})`, async () => {
  const random = seededRandom(seed);
  const pair = new Map<string, RunnerProcess>();
  for (const name of ["left", "right"]) pair.set(name, await start(name));
  const mine: string[] = [];
  const struck: string[] = [];
  for (let round = 0; round < Math.max(jobs, kills); round++) {
    if (round < jobs) mine.push(await ingest(filmOf(random.below(films.length))));
    if (round < kills) struck.push(await strike(pair, random));
  }
  for (const fileId of mine) await client.followTo(fileId, "distributed", healTimeoutMs);

  const histories = await Promise.all(mine.map((fileId) => client.history(fileId)));
  const count = (event: string) => histories.flat().filter((entry) => entry.event === event).length;
  console.log(
    `killed at ${JSON.stringify(
      Object.groupBy(struck, (at) => at),
      (_key, value) => (Array.isArray(value) ? value.length : value),
    )}; ` + `${count("TranscodeClaimed")} claims, ${count("LeaseExpired")} leases lost, for ${jobs} jobs`,
  );
  expect(struck).toHaveLength(kills);
  expect(count("LeaseExpired"), "kills that hit a job").toBeGreaterThan(kills / 4);
  for (const fileId of mine) {
    await expectMadeOnce(fileId);
    expect(await decodingErrors(await client.playbackUrl(fileId, "540p")), fileId).toBe("");
  }
}, 1_200_000);
