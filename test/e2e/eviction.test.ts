/**
 * The whole circle: a proxy that nobody plays leaves R2, still plays from Wasabi, and is brought back by being played.
 * The policy's days are seconds here; everything else is as it is in production.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { eventually } from "../../dev/eventually.ts";
import { edgeKeys } from "../../dev/persisted-state.ts";
import { ClipFolder } from "./media-clip.ts";
import { type PipelineClient, proxyKeyOf } from "./pipeline-client.ts";
import { expectRest } from "./resting-stack.ts";
import { StackProcess } from "./stack-process.ts";

const secondsInDays = (seconds: number) => seconds / 86_400;
const retentionDays = {
  "360p": secondsInDays(20),
  "540p": secondsInDays(20),
  "720p": secondsInDays(20),
  "1080p": secondsInDays(20),
  "2160p": secondsInDays(20),
};
/** The sweep runs every minute. */
const sweepTimeoutMs = 150_000;

let stack: StackProcess;
let clips: ClipFolder;
let client: PipelineClient;

beforeAll(async () => {
  [clips, stack] = await Promise.all([ClipFolder.make(), StackProcess.start({ policy: { retentionDays } })]);
  client = await stack.client();
});

afterAll(async () => {
  await stack.destroy();
  await clips.remove();
});

test("an asset goes distributed → evicted → distributed, and Wasabi keeps everything", async () => {
  const upload = await client.ingest(await clips.clip({ width: 640, height: 360, seconds: 2 }));
  const distributed = await client.followTo(upload.fileId, "distributed", 120_000);
  expect(edgeKeys(stack.dataDirectory)).toEqual([`proxies/${distributed.jobId}/360p.mp4`]);
  const url = await client.playbackUrl(upload.fileId, "360p");

  await client.followTo(upload.fileId, "evicted", sweepTimeoutMs);
  expect(edgeKeys(stack.dataDirectory)).toEqual([]);
  const proxyKey = proxyKeyOf(upload, "360p");
  const archived = await client.getWasabi(proxyKey);

  const played = await fetch(url, { signal: AbortSignal.timeout(30_000) });
  expect(played.headers.get("x-served-from")).toBe("wasabi");
  expect(Buffer.from(await played.arrayBuffer()).equals(archived)).toBe(true);

  await client.followTo(upload.fileId, "distributed", 60_000);
  const again = await fetch(url, { signal: AbortSignal.timeout(30_000) });
  expect(again.headers.get("x-served-from")).toBe("r2");
  expect(Buffer.from(await again.arrayBuffer()).equals(archived)).toBe(true);

  const phases = await eventually({ what: "the call of the restoration", timeoutMs: 30_000 }, async () => {
    const types = (await client.appCalls(upload.fileId)).map(({ body }) => body.type);
    return types.includes("asset.restored") && types;
  });
  expect(phases).toEqual(["asset.archived", "asset.encoded", "asset.distributed", "asset.evicted", "asset.restored"]);
  await client.followTo(upload.fileId, "evicted", sweepTimeoutMs);
  await expectRest(stack, client, [upload.fileId]);
});
