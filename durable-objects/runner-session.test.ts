import { expect, test } from "vitest";
import type { StoredAsset } from "../schemas/asset-state.ts";
import { AssetEvent, type EventEnvelope } from "../schemas/event.ts";
import { historyDetail } from "./history-detail.ts";
import { answerRunner, type RunnerPorts } from "./runner-session.ts";

const jobId = "0123456789abcdef01234567";
const lease = "lease-token-of-22-chars-or-more";
const state = {
  job: { jobId, state: "transcoding", lease: { token: lease, runnerId: "r1" } },
} as unknown as StoredAsset;

async function told(frame: Record<string, unknown>): Promise<EventEnvelope[]> {
  const events: EventEnvelope[] = [];
  const ports = {
    state: () => state,
    commit: (envelope: EventEnvelope) => events.push(envelope),
  } as unknown as RunnerPorts;
  const answer = await answerRunner(JSON.stringify({ seq: 1, lease, ...frame }), jobId, ports);
  expect(answer).toEqual({ type: "ok", seq: 1 });
  return events;
}

test.each([
  [
    { type: "failed", code: "ENCODER_FAILED", message: "exit 1", retryable: true },
    { code: "ENCODER_FAILED", message: "exit 1" },
  ],
  [{ type: "release", reason: "SIGTERM" }, { reason: "SIGTERM" }],
])("what a lease has read stands in the history of how it ended: %o", async (frame, detail) => {
  const [counted] = await told({ ...frame, sourceBytes: 5_000_000_000 });
  expect(counted && historyDetail(counted.event)).toEqual({ ...detail, sourceBytes: 5_000_000_000 });
  const [uncounted] = await told(frame);
  expect(uncounted && historyDetail(uncounted.event)).toStrictEqual(detail);
});

test.each(["heartbeat", "resume"])("a %s tells what was read so far, where the runner counts", async (type) => {
  expect((await told({ type, sourceBytes: 7 }))[0]?.event).toEqual({ type: "LeaseRenewed", lease, sourceBytes: 7 });
  expect((await told({ type }))[0]?.event).toStrictEqual({ type: "LeaseRenewed", lease });
});

test("more than the largest original has may be read of it, and no frame is refused for that", async () => {
  const sourceBytes = 3 * 5 * 1024 ** 4;
  for (const frame of [{ type: "heartbeat" }, { type: "release", reason: "SIGTERM" }]) {
    const [envelope] = await told({ ...frame, sourceBytes });
    expect(AssetEvent.parse(envelope?.event)).toMatchObject({ sourceBytes });
  }
});

test("and in that of every rendition that was uploaded", () => {
  const sha256 = { partSizeBytes: 8, parts: 1, composite: "0".repeat(64) };
  const made = {
    quality: "360p",
    width: 640,
    height: 360,
    frames: 48,
    durationSeconds: 2,
    sizeBytes: 7,
    sha256,
  } as const;
  const event = { type: "RenditionUploaded", lease, ...made, sourceBytes: 99 } as const;
  expect(historyDetail(event)).toEqual({ quality: "360p", frames: 48, sizeBytes: 7, sourceBytes: 99 });
});
