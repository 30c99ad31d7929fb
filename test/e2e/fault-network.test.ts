/**
 * Faults of the network, of R2 and of single processes in the middle of things, on a stack whose links can be told to
 * fail. Each must end whole, with nothing left over.
 */
import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { compositeSha256 } from "../../dev/composite-checksum.ts";
import { eventually } from "../../dev/eventually.ts";
import { FaultControl } from "../../dev/fault-control.ts";
import type { Strike } from "../../dev/fault-plan.ts";
import { impatientPolicy } from "../../dev/fault-policy.ts";
import { type FaultRule, pass } from "../../dev/fault-rule.ts";
import { carryOut } from "../../dev/fault-strike.ts";
import { type Clips, makeClips } from "../../dev/fault-upload.ts";
import type { LinkName } from "../../dev/stack-fault.ts";
import { findBinaries } from "../../gpu-runner/media/binaries.ts";
import type { Asset } from "./asset-document.ts";
import { type PipelineClient, proxyKeyOf } from "./pipeline-client.ts";
import { expectRest } from "./resting-stack.ts";
import { StackProcess } from "./stack-process.ts";

const healTimeoutMs = 240_000;
const wasabiLinks: readonly LinkName[] = ["worker-wasabi", "runner-wasabi", "agent-wasabi"];

let folder: string;
let clips: Clips;
let stack: StackProcess;
let client: PipelineClient;
let control: FaultControl;
const fileIds: string[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mmf-faults-"));
  clips = await makeClips(await findBinaries(process.env), folder);
  stack = await StackProcess.start({ flags: ["--faults"], policy: impatientPolicy });
  client = await stack.client();
  control = new FaultControl(await stack.file());
});

afterAll(async () => {
  await stack?.destroy();
  await rm(folder, { recursive: true, force: true });
});

afterEach(async () => {
  for (const link of wasabiLinks) await control.setLink(link, pass);
  await control.setR2([]);
  await expectRest(stack, client, fileIds);
}, 120_000);

async function ingest(clip: keyof Clips): Promise<string> {
  const { fileId } = await client.ingest(clips[clip].path);
  fileIds.push(fileId);
  return fileId;
}

/** Sends a clip and strikes it where the strike says. @returns its id */
async function strike(
  clip: keyof Clips,
  strike: Omit<Strike, "holdBefore">,
  meanwhile?: (fileId: string) => Promise<void>,
) {
  const scene = { stack, origin: null, asset: () => null, say: () => undefined };
  let fileId = "";
  const outcome = await carryOut({ ...strike, holdBefore: true }, scene, {
    begin: async () => {
      fileId = await ingest(clip);
    },
    meanwhile: async () => await meanwhile?.(fileId),
  });
  expect(outcome.struck).toBe(true);
  return fileId;
}

/** Every copy, byte for byte, against the checksum of the document. */
async function expectWhole(fileId: string): Promise<Asset> {
  const asset = await client.followTo(fileId, "distributed", healTimeoutMs);
  expect(asset.problem).toBeNull();
  for (const { quality, sha256, copies } of asset.renditions) {
    const bytes = [await client.getWasabi(proxyKeyOf(asset, quality))];
    const played = await fetch(await client.playbackUrl(fileId, quality));
    expect(played.headers.get("x-served-from")).toBe("r2");
    bytes.push(Buffer.from(await played.arrayBuffer()));
    for (const { tier, key } of copies) {
      if (tier === "lucidlink") bytes.push(await readFile(join(client.stack.lucidlink.root, key)));
    }
    for (const each of bytes) expect(compositeSha256(each, sha256?.partSizeBytes ?? 1)).toBe(sha256?.composite);
  }
  return asset;
}

async function timesClaimed(fileId: string): Promise<number> {
  return (await client.history(fileId)).filter(({ event }) => event === "TranscodeClaimed").length;
}

/** Bad and good weather by turns, until the asset is through. @returns how often each link was struck */
async function inShowers(fileId: string, rule: FaultRule): Promise<Record<string, number>> {
  const struck: Record<string, number> = {};
  for (let turn = 0; turn < 20; turn++) {
    for (const link of wasabiLinks) await control.setLink(link, rule);
    await sleep(2_000);
    for (const link of wasabiLinks) {
      struck[link] = (struck[link] ?? 0) + (await control.link(link)).struck;
      await control.setLink(link, pass);
    }
    if ((await client.asset(fileId)).state === "distributed") break;
    await sleep(3_000);
  }
  return struck;
}

test("Wasabi killed while a rendition uploads: its parts are sent again, nothing is encoded twice", async () => {
  const fault = { kind: "kill", victim: "wasabi" } as const;
  const fileId = await strike("parts", { phase: "uploading", fault, forMs: 0 });
  await expectWhole(fileId);
  expect(await timesClaimed(fileId)).toBe(1);
});

test("R2 fails for 10 s while it is placed: Wasabi serves meanwhile, and it is placed after that", async () => {
  const fault = { kind: "r2", fault: "error" } as const;
  const fileId = await strike("small", { phase: "placing-r2", fault, forMs: 10_000 }, async (fileId) => {
    await client.follow(fileId, ({ problem }) => problem?.code === "R2_UNAVAILABLE", healTimeoutMs);
    const played = await fetch(await client.playbackUrl(fileId, "360p"));
    expect([played.status, played.headers.get("x-served-from")]).toEqual([200, "wasabi"]);
    await played.arrayBuffer();
  });
  await expectWhole(fileId);
});

test("the agent killed during its copy: it goes on, and no half file is ever under the final name", async () => {
  await control.setLink("agent-wasabi", { kind: "throttle", bytesPerSecond: 512 * 1024 });
  const fileId = await ingest("parts");
  const { root } = client.stack.lucidlink;
  const isOfThis = (path: string) => path.includes(fileId);
  const half = await eventually({ what: "a file that grows", timeoutMs: healTimeoutMs, everyMs: 50 }, async () => {
    for (const path of (await client.lucidLinkFiles()).filter(isOfThis)) {
      if ((await stat(join(root, path)).catch(() => null))?.size) return path;
    }
    return null;
  });
  expect(half).not.toBe(`Clients/acme/launch-film/${fileId}_540p.mp4`);
  await stack.signalChild("lucid-agent", "SIGKILL", "group");
  await control.setLink("agent-wasabi", pass);
  await expectWhole(fileId);
  expect((await client.lucidLinkFiles()).filter(isOfThis)).toEqual([`Clients/acme/launch-film/${fileId}_540p.mp4`]);
});

test("showers of 503 with Retry-After from Wasabi, to everybody: waited out", async () => {
  const rule: FaultRule = { kind: "answer", answer: "503", retryAfterSeconds: 1 };
  await control.setLink("worker-wasabi", rule);
  const fileId = await ingest("small");
  const struck = await inShowers(fileId, rule);
  expect(struck["worker-wasabi"]).toBeGreaterThan(0);
  await expectWhole(fileId);
});

test("every answer of Wasabi cut at a third, by turns: nothing short is ever taken for whole", async () => {
  const rule: FaultRule = { kind: "cut", after: { share: 1 / 3 } };
  await control.setLink("worker-wasabi", rule);
  const fileId = await ingest("parts");
  const struck = await inShowers(fileId, rule);
  expect(struck["worker-wasabi"]).toBeGreaterThan(0);
  await expectWhole(fileId);
  expect(await timesClaimed(fileId)).toBeLessThanOrEqual(3);
});

test("silence between the worker and Wasabi while it places: it goes on when the line does", async () => {
  const fault = { kind: "link", link: "worker-wasabi", fault: "stall" } as const;
  const fileId = await strike("parts", { phase: "placing-r2", fault, forMs: 5_000 });
  await expectWhole(fileId);
  expect(await timesClaimed(fileId)).toBe(1);
});
