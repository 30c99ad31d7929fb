/** What runners read reaches the ledger once, however it is told and however the lease ends. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { loadAssetState } from "../../schemas/asset-state.ts";
import { Command } from "../../schemas/command.ts";
import type { AssetEvent } from "../../schemas/event.ts";
import { proxyKey } from "../../schemas/key.ts";
import { content, probe } from "../../test/simulation/asset-sample.ts";
import { reach } from "../../test/simulation/reach.ts";
import type { World } from "../../test/simulation/world.ts";
import type { Transition } from "./transition.ts";

const hourMs = 60 * 60_000;
const gigabyte = 1e9;

const dayOf = (world: World) => new Date(world.run.nowMs).toISOString().slice(0, 10);
const leaseOf = (world: World) => world.run.asset.job.lease?.token ?? "";
const countsIn = ({ effects }: Transition) =>
  effects.flatMap((effect) => (effect.type === "CountSourceRead" ? [effect] : []));

function heartbeat(world: World, sourceBytes?: number): Transition {
  return world.tell({
    type: "LeaseRenewed",
    lease: leaseOf(world),
    ...(sourceBytes === undefined ? {} : { sourceBytes }),
  });
}

const expire = (world: World) => {
  world.run.nowMs = world.run.asset.job.lease?.expiresAtMs ?? world.run.nowMs;
  return world.tell({ type: "LeaseExpired", generation: world.run.asset.job.generation });
};

const fault = { code: "ENCODER_FAILED", message: "exit 1", retryable: true } as const;

describe("a lease that ends", () => {
  test.each<[string, (world: World) => Transition]>([
    ["by being released", (world) => world.tell({ type: "LeaseReleased", lease: leaseOf(world), reason: "SIGTERM" })],
    ["by a failure", (world) => world.tell({ type: "TranscodeFailed", lease: leaseOf(world), ...fault })],
    ["by its runner's silence", expire],
    ["by a cancel", (world) => world.tell({ type: "CancelRequested" })],
    ["by a deletion", (world) => world.tell({ type: "DeleteRequested" })],
  ])("%s counts what its heartbeats told last", (_name, end) => {
    const world = reach("transcoding");
    const { generation } = world.run.asset.job;
    heartbeat(world, 3 * gigabyte);
    expect(countsIn(heartbeat(world, 5 * gigabyte))).toEqual([]);
    const day = dayOf(world);
    expect(countsIn(end(world))).toEqual([{ type: "CountSourceRead", generation, day, bytes: 5 * gigabyte }]);
    expect(world.run.asset.job.lease).toBeNull();
  });

  test("counts its last word, which is more than its heartbeats told", () => {
    const world = reach("transcoding");
    heartbeat(world, 3 * gigabyte);
    const event = { type: "TranscodeFailed", lease: leaseOf(world), ...fault, sourceBytes: 7 * gigabyte } as const;
    expect(countsIn(world.tell(event))).toMatchObject([{ bytes: 7 * gigabyte }]);
    expect(countsIn(world.tell(event))).toEqual([]);
  });

  test("with its last rendition counts once, whatever each of them told", () => {
    const world = reach("transcoding");
    const told: AssetEvent[] = [];
    const counted: unknown[] = [];
    const lease = leaseOf(world);
    world.tell({ type: "SourceProbed", lease, source: probe(720) });
    for (const [serial, { quality }] of world.run.asset.renditions.entries()) {
      const uploadId = `upload-${quality}`;
      const key = proxyKey(world.run.asset, quality);
      world.tell({ type: "UploadOpened", lease, quality, key, uploadId, partSizeBytes: 8 * 1024 * 1024 });
      const made = { width: 640, height: 360, frames: 500, durationSeconds: 20, ...content(serial) };
      told.push({ type: "RenditionUploaded", lease, quality, ...made, sourceBytes: (serial + 1) * gigabyte });
    }
    for (const event of [...told, ...told]) counted.push(...countsIn(world.tell(event)));
    expect(counted).toMatchObject([{ bytes: told.length * gigabyte }]);
  });

  test("and told nothing counts nothing", () => {
    const world = reach("transcoding");
    heartbeat(world);
    expect(countsIn(expire(world))).toEqual([]);
  });
});

test("each lease of a job counts its own reads, under its own generation", () => {
  const world = reach("transcoding");
  heartbeat(world, gigabyte);
  const [first] = countsIn(expire(world));
  while (world.run.asset.job.lease === null) world.flow();
  heartbeat(world, 2 * gigabyte);
  const [second] = countsIn(expire(world));
  expect([first, second]).toMatchObject([
    { generation: 1, bytes: gigabyte },
    { generation: 2, bytes: 2 * gigabyte },
  ]);
});

test("a figure that comes late, or again, adds nothing", () => {
  const world = reach("transcoding");
  for (const sourceBytes of [5, 3, 5, 0, 4]) heartbeat(world, sourceBytes);
  expect(countsIn(expire(world))).toMatchObject([{ bytes: 5 }]);
});

test("what was told before midnight counts for that day, as soon as a later day is told of", () => {
  const world = reach("transcoding");
  const before = dayOf(world);
  heartbeat(world, 10);
  world.run.advance(24 * hourMs);
  expect(countsIn(heartbeat(world, 15))).toMatchObject([{ day: before, bytes: 10 }]);
  const after = dayOf(world);
  expect(after).not.toBe(before);
  expect(countsIn(heartbeat(world, 15))).toEqual([]);
  world.run.advance(24 * hourMs);
  // Nothing was read since.
  expect(countsIn(heartbeat(world, 15))).toEqual([]);
  expect(countsIn(expire(world))).toMatchObject([{ day: after, bytes: 5 }]);
});

test("a clock that is set back across midnight loses nothing: no day is told twice", () => {
  const world = reach("transcoding");
  const counts = [...countsIn(heartbeat(world, 10))];
  const first = dayOf(world);
  world.run.advance(24 * hourMs);
  const second = dayOf(world);
  counts.push(...countsIn(heartbeat(world, 15)));
  world.run.nowMs -= 24 * hourMs;
  counts.push(...countsIn(heartbeat(world, 20)));
  counts.push(...countsIn(world.tell({ type: "CancelRequested" })));
  expect(counts).toMatchObject([
    { day: first, bytes: 10 },
    { day: second, bytes: 10 },
  ]);
});

test("a lease of a document that was written before reads were counted is loaded, and counts from then on", () => {
  const world = reach("transcoding");
  const { read, ...lease } = world.run.asset.job.lease ?? {};
  expect(read).toBeDefined();
  const old = { ...world.run.asset, job: { ...world.run.asset.job, lease } };
  world.run.state = loadAssetState(JSON.stringify(old));
  heartbeat(world, 8);
  expect(countsIn(expire(world))).toMatchObject([{ bytes: 8 }]);
});

test("more than the largest original has is counted, sent and stored", () => {
  const world = reach("transcoding");
  const sourceBytes = 3 * 5 * 1024 ** 4;
  heartbeat(world, sourceBytes);
  expect(loadAssetState(JSON.stringify(world.run.asset)).job.lease?.read).toMatchObject({ toldBytes: sourceBytes });
  const [count] = countsIn(expire(world));
  const { fileId } = world.run.asset;
  expect(Command.parse({ ...count, id: `${fileId}:1:0`, fileId })).toMatchObject({ bytes: sourceBytes });
});

test("whatever is told and whenever, the days of a lease add up to the most that it told, each day once", () => {
  const tellings = fc.array(fc.record({ sourceBytes: fc.nat(1_000), hours: fc.nat(30) }), { maxLength: 12 });
  fc.assert(
    fc.property(tellings, (told) => {
      const world = reach("transcoding");
      const counts = told.flatMap(({ sourceBytes, hours }) => {
        world.run.advance(hours * hourMs);
        return countsIn(heartbeat(world, sourceBytes));
      });
      counts.push(...countsIn(expire(world)));
      expect(new Set(counts.map(({ day }) => day)).size).toBe(counts.length);
      const sum = counts.reduce((all, { bytes }) => all + bytes, 0);
      expect(sum).toBe(Math.max(0, ...told.map(({ sourceBytes }) => sourceBytes)));
    }),
  );
});
