/**
 * A month of the whole deployment in one run: the clock of decisions is moved by twelve hours at a time, nothing else. What is
 * promoted and evicted, and when, is what the policy says; pins hold; the archive keeps everything.
 */
import { beforeAll, expect, test } from "vitest";
import type { UploadDeclaration } from "../../schemas/event.ts";
import { edgeKey, originalKey, proxyKey } from "../../schemas/key.ts";
import type { Quality } from "../../schemas/ladder.ts";
import { config, newUpload, token } from "../../test/door-worker.ts";
import { bodyOf, content, wasabi } from "../../test/pipeline-worker.ts";
import { encode } from "../../test/runner-worker.ts";
import { type WarpedAsset, WarpedDeployment } from "../../test/warped-worker.ts";
import { signPlaybackUrl } from "../playback-url.ts";

const hourMs = 60 * 60_000;
const dayMs = 24 * hourMs;
const stepMs = 12 * hourMs;
const sizeBytes = 2_000;

const deployment = new WarpedDeployment();
const admin = await token("admin");

class Film {
  readonly upload: UploadDeclaration;
  readonly opened: WarpedAsset;
  readonly url: (quality: Quality) => Promise<string>;

  private constructor(upload: UploadDeclaration, opened: WarpedAsset, jobId: string) {
    this.upload = upload;
    this.opened = opened;
    const { fileId } = upload;
    const expiresAtSeconds = Math.floor(Date.now() / 1000) + 24 * 3600;
    this.url = (quality) =>
      signPlaybackUrl(config.publicUrl, config.playbackKeys, {
        fileId,
        jobId,
        quality,
        downloadName: null,
        expiresAtSeconds,
      });
  }

  static async make(projectName: string, height: number): Promise<Film> {
    const upload = newUpload({ projectName, sizeBytes });
    await wasabi.put(originalKey(upload), bodyOf(content(sizeBytes)), { sizeBytes, contentType: "video/quicktime" });
    const opened = await deployment.open(upload.fileId);
    await opened.door.apply({ key: null, by: "test", event: { type: "UploadNoticed", upload } });
    await deployment.settle();
    await encode(opened, { height });
    await deployment.settle();
    const { state, jobId } = await opened.asset();
    if (state !== "distributed" || jobId === null) throw new Error(`the asset is ${state}`);
    return new Film(upload, opened, jobId);
  }

  async play(quality: Quality): Promise<string | null> {
    const response = await deployment.deliver(await this.url(quality));
    expect(response.status).toBe(200);
    expect((await response.arrayBuffer()).byteLength).toBeGreaterThan(0);
    await deployment.settle();
    return response.headers.get("x-served-from");
  }

  async onEdge(): Promise<Quality[]> {
    const { jobId, renditions } = await this.opened.asset();
    const placed = renditions.filter(({ copies }) =>
      copies.some(({ tier, status }) => tier === "r2" && status === "placed"),
    );
    const qualities = placed.map(({ quality }) => quality);
    for (const { quality } of renditions) {
      const object = await deployment.env.PROXIES.head(edgeKey(jobId ?? "", quality));
      expect(object !== null, `${quality} in the bucket`).toBe(qualities.includes(quality));
    }
    return qualities;
  }

  /** In days since the deployment began, of each removal. */
  async removals(): Promise<[string, number][]> {
    const history = await this.opened.door.history(null, 1_000);
    return history
      .filter(({ event }) => event === "CopyRemoved")
      .map(({ at, detail }): [string, number] => [String(detail.quality), (Date.parse(at) - beganAtMs) / dayMs])
      .reverse();
  }

  /** The original, and every rendition with the very ETag that it was archived with. */
  async isArchived(): Promise<boolean> {
    const evidence = (await this.opened.door.evidence()).filter(({ tier }) => tier === "wasabi");
    const { renditions } = await this.opened.asset();
    const keys = [originalKey(this.upload), ...renditions.map(({ quality }) => proxyKey(this.upload, quality))];
    expect(evidence.map(({ key }) => key).sort()).toEqual(keys.sort());
    const found = await Promise.all(evidence.map(({ key }) => wasabi.head(key)));
    return found.every((object, n) => object !== null && object.etag === evidence[n]?.etag);
  }
}

let beganAtMs = 0;
let films: Record<"quiet" | "played" | "wanted" | "pinned" | "daily" | "screening", Film>;

beforeAll(async () => {
  films = {
    quiet: await Film.make("spring", 540),
    played: await Film.make("spring", 360),
    wanted: await Film.make("spring", 720),
    pinned: await Film.make("spring", 360),
    daily: await Film.make("daily", 360),
    screening: await Film.make("screening", 360),
  };
  beganAtMs = deployment.nowMs();
}, 120_000);

async function until(day: number): Promise<void> {
  while (deployment.nowMs() - beganAtMs < day * dayMs) {
    deployment.advance(Math.min(stepMs, beganAtMs + day * dayMs - deployment.nowMs() + 1_000));
    await deployment.tick();
    await deployment.settle();
  }
}

const inDays = (days: number) => new Date(beganAtMs + days * dayMs).toISOString();

test("31 days", async () => {
  const { quiet, played, wanted, pinned, daily, screening } = films;
  await deployment.call(`/v1/admin/assets/${pinned.upload.fileId}/pin`, admin, { until: inDays(60) });
  await deployment.call("/v1/admin/projects/acme/screening/pin", admin, { until: inDays(45) });
  const overrides = [{ clientName: "acme", projectName: "daily", retentionDays: { "360p": 5 } }];
  const policy = { retentionDays: config.policy.retentionDays, overrides };
  await deployment.call("/v1/admin/policy", admin, { version: 0, policy }, "PUT");
  await deployment.settle();

  await until(2);
  expect(await wanted.play("720p")).toBe("wasabi");
  expect(await wanted.onEdge()).toEqual(["360p", "540p", "720p"]);

  await until(4.7);
  expect(await daily.onEdge()).toEqual(["360p"]);
  await until(5.3);
  expect(await daily.onEdge()).toEqual([]);
  expect((await daily.opened.asset()).state).toBe("evicted");

  await until(10);
  expect(await played.play("360p")).toBe("r2");
  await until(15.7);
  expect(await wanted.onEdge()).toEqual(["360p", "540p", "720p"]);
  await until(16.3);
  expect(await wanted.onEdge()).toEqual(["360p", "540p"]);
  expect((await wanted.opened.asset()).state).toBe("distributed");

  await until(29.7);
  expect(await quiet.onEdge()).toEqual(["360p", "540p"]);
  await until(30.3);
  expect((await quiet.opened.asset()).state).toBe("evicted");
  expect(await quiet.play("360p")).toBe("wasabi");
  expect((await quiet.opened.asset()).state).toBe("distributed");
  expect(await quiet.play("360p")).toBe("r2");

  await until(31);
  expect(await quiet.onEdge()).toEqual(["360p"]);
  expect(await wanted.onEdge()).toEqual([]);
  for (const kept of [played, pinned, screening]) expect(await kept.onEdge()).toEqual(["360p"]);

  const removals = await Promise.all(Object.values(films).map((film) => film.removals()));
  const within = (day: number) => expect.closeTo(day + 0.15, 0);
  expect(Object.fromEntries(Object.keys(films).map((name, n) => [name, removals[n]]))).toEqual({
    quiet: [
      ["360p", within(30)],
      ["540p", within(30)],
    ],
    played: [],
    wanted: [
      ["720p", within(16)],
      ["360p", within(30)],
      ["540p", within(30)],
    ],
    pinned: [],
    daily: [["360p", within(5)]],
    screening: [],
  });
  for (const removed of removals.flat()) expect(removed[1] % 1).toBeLessThan(0.55);

  for (const [name, film] of Object.entries(films)) expect(await film.isArchived(), name).toBe(true);
  const told = deployment.calls
    .filter((call) => call.startsWith(quiet.upload.fileId))
    .map((call) => call.split(" ")[1]);
  expect(told).toEqual(["asset.archived", "asset.encoded", "asset.distributed", "asset.evicted", "asset.restored"]);
  const { objects } = await deployment.env.PROXIES.list();
  expect(objects).toHaveLength(4);
  expect(Number(await deployment.env.CATALOGUE.prepare("SELECT count(*) AS n FROM open_uploads").first("n"))).toBe(0);
}, 240_000);

test.each([
  ["still on R2", false, "r2"],
  ["gone from R2, and nobody was told yet", true, "wasabi"],
])(
  "who plays a proxy that is being removed, %s, is served, and has it back",
  async (_name, isGone, tier) => {
    const film = await Film.make("race", 360);
    const { fileId } = film.upload;
    await deployment.call(`/v1/admin/assets/${fileId}/evict`, admin, {});
    const { jobId } = await film.opened.asset();
    if (isGone) await deployment.env.PROXIES.delete(edgeKey(jobId ?? "", "360p"));
    expect(await film.play("360p")).toBe(tier);
    expect(await film.removals()).toHaveLength(1);
    expect(await film.onEdge()).toEqual(["360p"]);
    expect(await film.play("360p")).toBe("r2");
    expect(await film.isArchived()).toBe(true);
  },
  60_000,
);
