/** One run: a stack of its own, a file through it under the plan's faults, and a hard look at what is left in the end. */
import { readFile } from "node:fs/promises";
import type { Asset } from "../schemas/asset.ts";
import { AssetWatch } from "./asset-watch.ts";
import { formatDuration } from "./bar.ts";
import { eventually } from "./eventually.ts";
import { describeFault, type RunPlan } from "./fault-plan.ts";
import { impatientPolicy } from "./fault-policy.ts";
import { complaintsAbout, complaintsAboutArchive, complaintsAboutAsset, play } from "./fault-proof.ts";
import { type Course, carryOut, type Scene, type StrikeOutcome, touches } from "./fault-strike.ts";
import { type Clips, type PreparedUpload, prepareUpload } from "./fault-upload.ts";
import { unrest } from "./rest.ts";
import { readAsset, readHistory } from "./stack-client.ts";
import type { StackFile } from "./stack-file.ts";
import { StackRun, type StackRunOptions } from "./stack-run.ts";

export type RunResult = {
  plan: RunPlan;
  outcomes: StrikeOutcome[];
  /** None, of a run that ended as promised. */
  complaints: string[];
  tookMs: number;
  /** Where the stack's disks and logs are, when they were kept. */
  folder: string | null;
};

const endTimeoutMs = 300_000;
const silenceMs = 300_000;
const returnTimeoutMs = 90_000;
const toldTimeoutMs = 120_000;
const retentionSeconds = 20;
const historyLines = 20;

function stackOptions(evicts: boolean): StackRunOptions {
  const retentionDays = Object.fromEntries(
    ["360p", "540p", "720p", "1080p", "2160p"].map((quality) => [quality, retentionSeconds / 86_400]),
  );
  return { flags: ["--faults"], policy: { ...impatientPolicy, ...(evicts ? { retentionDays } : {}) } };
}

export async function carryOutRun(
  plan: RunPlan,
  clips: Clips,
  options: { keep: boolean; say(line: string): void },
): Promise<RunResult> {
  const beganAtMs = performance.now();
  const stack = new StackRun(stackOptions(plan.evicts));
  const run = new Run(plan, stack, (line) => {
    options.say(`${formatDuration(performance.now() - beganAtMs).padStart(12)}  ${line}`);
  });
  process.on("exit", stack.killNow);
  try {
    await run.go(clips).catch((error: Error) => run.complain(error.message));
  } finally {
    await run.close();
    if (options.keep) await stack.killEverything();
    else await stack.destroy();
    process.off("exit", stack.killNow);
  }
  const { outcomes, complaints } = run;
  const tookMs = performance.now() - beganAtMs;
  return { plan, outcomes, complaints, tookMs, folder: options.keep ? stack.folder : null };
}

class Run {
  readonly outcomes: StrikeOutcome[] = [];
  readonly complaints: string[] = [];
  readonly #plan: RunPlan;
  readonly #stack: StackRun;
  readonly #say: (line: string) => void;
  #upload: PreparedUpload | null = null;
  #watch: AssetWatch | null = null;
  #told = "";

  constructor(plan: RunPlan, stack: StackRun, say: (line: string) => void) {
    this.#plan = plan;
    this.#stack = stack;
    this.#say = say;
  }

  /** What a person would see on a dashboard, whenever it changes. */
  #tell({ state, problem, generation }: Asset): void {
    const attempt = generation > 1 ? `, attempt ${generation}` : "";
    const told = `${state}${attempt}${problem === null ? "" : `, ${problem.step}: ${problem.code}`}`;
    if (told !== this.#told) this.#say(told);
    this.#told = told;
  }

  complain(what: string): void {
    this.complaints.push(what);
  }

  async close(): Promise<void> {
    this.#watch?.close();
    await this.#upload?.close();
  }

  async go(clips: Clips): Promise<void> {
    await this.#stack.start();
    this.#say("the stack is up");
    this.#upload = await prepareUpload(this.#plan, await this.#stack.file(), clips);
    try {
      const asset = await this.#toTheEnd(this.#upload);
      await this.#proveEnd(asset, this.#upload);
    } catch (error) {
      this.complain((error as Error).message);
      await this.#tellHistory(this.#upload.fileId);
    }
    const alive = await this.#stack.stop();
    for (const process of alive) this.complain(`a process outlived the stack: ${process}`);
  }

  async #toTheEnd(upload: PreparedUpload): Promise<Asset> {
    const { strikes, evicts, doom } = this.#plan;
    const early = strikes.filter(({ phase }) => phase !== "idle" && phase !== "evicting" && phase !== "promoting");
    let announced = false;
    const announce = async () => {
      if (announced) return;
      announced = true;
      await upload.announce();
      this.#watch = new AssetWatch(await this.#stack.file(), upload.fileId, silenceMs, (asset) => this.#tell(asset));
    };
    await this.#strikeEach(early, { begin: announce });
    await announce();
    if (doom !== null) return await this.#until("failed", ({ state }) => state === "failed");
    // With seconds for days a proxy may be gone again before the last copy is placed.
    const asset = await this.#until(
      "distributed",
      ({ state }) => state === "distributed" || (evicts && state === "evicted"),
    );
    if (evicts) return await this.#throughEviction(asset);
    const idle = strikes.filter(({ phase }) => phase === "idle");
    await this.#strikeEach(idle, { meanwhile: () => this.#playUnderFault() });
    return await this.#until("distributed", ({ state }) => state === "distributed");
  }

  async #strikeEach(strikes: RunPlan["strikes"], course: Course): Promise<void> {
    const scene: Scene = {
      stack: this.#stack,
      origin: this.#upload?.origin ?? null,
      asset: () => this.#watch?.asset ?? null,
      say: this.#say,
    };
    const over: Promise<StrikeOutcome>[] = [];
    for (const strike of strikes) {
      // Traps that do not touch lie side by side, since phases overlap; of those that do, each waits for the ones before.
      const before = over.filter((_, other) => touches(strikes[other] ?? strike, strike));
      over.push(Promise.all(before).then(() => carryOut(strike, scene, course)));
    }
    this.outcomes.push(...(await Promise.all(over)));
  }

  async #throughEviction(distributed: Asset): Promise<Asset> {
    const { strikes } = this.#plan;
    const leaving = strikes.filter(({ phase }) => phase === "evicting");
    await this.#strikeEach(leaving, {});
    await this.#until("evicted", ({ state }) => state === "evicted");
    let played: Promise<void> | null = null;
    const playAll = async () => {
      played ??= this.#playUntilWhole(distributed);
      played.catch(() => undefined);
    };
    const returning = strikes.filter(({ phase }) => phase === "promoting");
    await this.#strikeEach(returning, { begin: playAll });
    await playAll();
    await played;
    await this.#until("distributed again", ({ state }) => state === "distributed");
    // Days are days again, so that nothing leaves while it is looked at.
    await this.#stack.stop();
    await this.#stack.start(stackOptions(false));
    // What waited for a copy that came late may have left again meanwhile, as those seconds promised.
    return await this.#playUntilAtEdge(distributed);
  }

  /** A miss asks for its copy once a minute at most, so a single look may change nothing. */
  async #playUntilAtEdge(asset: Asset): Promise<Asset> {
    const wait = { what: "every copy is at the edge again", timeoutMs: endTimeoutMs, everyMs: 5_000 };
    return await eventually(wait, async () => {
      await this.#playUntilWhole(asset);
      const now = await readAsset(await this.#stack.file(), asset.fileId);
      return now.state === "distributed" && isAtEdge(now) ? now : null;
    });
  }

  /** A viewer tries again until all of it comes; what comes whole must be right. */
  async #playUntilWhole({ fileId, renditions }: Asset): Promise<void> {
    for (const rendition of renditions) {
      const wait = { what: `${rendition.quality} plays`, timeoutMs: endTimeoutMs, everyMs: 500 };
      // While the whole stack is down there is not even a stack.json to find it by.
      const played = await eventually(wait, () =>
        this.#stack
          .file()
          .then((file) => play(file, fileId, rendition.quality))
          .catch(() => null),
      );
      this.complaints.push(...complaintsAbout(`delivery from ${played.servedFrom}`, rendition, played.bytes));
    }
  }

  /** At rest and while something is wrong: what is served whole is right. */
  async #playUnderFault(): Promise<void> {
    const asset = this.#watch?.asset ?? null;
    if (asset === null) return;
    const file = await this.#stack.file();
    for (const rendition of asset.renditions) {
      const played = await play(file, asset.fileId, rendition.quality).catch(() => null);
      if (played === null) this.#say(`${rendition.quality} does not play now`);
      else {
        this.#say(`${rendition.quality} plays from ${played.servedFrom}`);
        this.complaints.push(...complaintsAbout(`delivery from ${played.servedFrom}`, rendition, played.bytes));
      }
    }
  }

  async #until(what: string, wanted: (asset: Asset) => boolean): Promise<Asset> {
    const watch = this.#watch;
    if (watch === null) throw new Error("nothing was announced");
    const ended = ({ state }: Asset) => state === "failed" && this.#plan.doom === null;
    const asset = await watch.until(what, endTimeoutMs, (each) => wanted(each) || ended(each));
    if (wanted(asset)) return asset;
    throw new Error(`it failed, though every fault healed: ${asset.problem?.code}: ${asset.problem?.message}`);
  }

  async #proveEnd(settled: Asset, { fileId, clip, uploadedKeys }: PreparedUpload): Promise<void> {
    const file = await this.#stack.file();
    const { doom } = this.#plan;
    await untilEverybodyAnswers(file);
    const left = await unrest(this.#stack, async () => [await readAsset(file, fileId)], file.lucidlink.root);
    this.complaints.push(...left);
    const asset = await readAsset(file, fileId);
    if (asset.state !== settled.state) this.complain(`it was ${settled.state}, and became ${asset.state}`);
    if (doom === null) {
      this.complaints.push(...(await complaintsAboutAsset(file, asset, clip)));
      if (asset.problem !== null) this.complain(`a problem is left: ${asset.problem.code}`);
    } else if (asset.problem?.code !== doom || asset.problem.message === "") {
      this.complain(`it failed for ${asset.problem?.code}, the truth is ${doom}`);
    }
    this.complaints.push(...(await complaintsAboutArchive(this.#stack.dataDirectory, asset, uploadedKeys)));
    await this.#proveTold(asset.fileId, doom === null ? "asset.distributed" : "asset.failed");
    if (this.complaints.length > 0) await this.#tellHistory(fileId);
    else
      this.#say(
        doom === null ? "distributed, every copy agrees, nothing is left over" : `failed for ${doom}, as it must`,
      );
  }

  /** The local queue forgets what it held when its process is killed; else the application hears of the end. */
  async #proveTold(fileId: string, type: string): Promise<void> {
    const killed = this.outcomes.some(
      ({ strike: { fault } }) => fault.kind === "kill" && (fault.victim === "worker" || fault.victim === "stack"),
    );
    if (killed) return;
    const { appWebhook } = await this.#stack.file();
    await eventually({ what: `the application is told ${type}`, timeoutMs: toldTimeoutMs, everyMs: 500 }, async () => {
      const lines = await readFile(appWebhook?.file ?? "", "utf8").catch(() => "");
      return lines.split("\n").some((line) => line.includes(fileId) && line.includes(`"${type}"`));
    });
  }

  async #tellHistory(fileId: string): Promise<void> {
    try {
      const history = await readHistory(await this.#stack.file(), fileId);
      for (const { at, event, by, state } of history.slice(-historyLines))
        this.#say(`  ${at} ${event} by ${by} → ${state}`);
    } catch (error) {
      this.#say(`  its history cannot be read: ${(error as Error).message}`);
    }
  }
}

function isAtEdge({ renditions }: Asset): boolean {
  return renditions.every(({ copies }) => copies.every(({ tier, status }) => tier !== "r2" || status === "placed"));
}

/** What was killed last may still be coming up when the asset needs it no more. */
async function untilEverybodyAnswers(file: StackFile): Promise<void> {
  const doors = [`${file.api}/healthz`, `${file.lucidlink.url}/healthz`, file.wasabi.endpoint];
  await eventually({ what: "every process answers", timeoutMs: returnTimeoutMs, everyMs: 250 }, async () => {
    const answers = await Promise.all(
      doors.map((url) => fetch(url, { signal: AbortSignal.timeout(5_000) }).catch(() => null)),
    );
    for (const answer of answers) await answer?.arrayBuffer().catch(() => undefined);
    return answers.every((answer) => answer !== null && answer.status < 500);
  });
}

/** "parts clip from a URL: stall on runner-wasabi while uploading, kill -9 worker while idle" */
export function describePlan({ clip, source, strikes, doom, evicts }: RunPlan): string {
  const way = { "in-place": "in place", elsewhere: "elsewhere in the bucket", url: "at a URL" }[source];
  const what = doom === null ? `${clip} clip, ${way}` : `${doom}, ${way}`;
  const faults = strikes.map(({ phase, fault }) => `${describeFault(fault)} while ${phase}`).join(", ");
  return `${what}${evicts ? ", evicted and promoted" : ""}: ${faults}`;
}
