/** This code and the code before it read each other's documents, events and messages. */
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import type { Effect } from "../durable-objects/machine/effect.ts";
import { viewAsset } from "../durable-objects/machine/view.ts";
import type { Asset, AssetState } from "../schemas/asset.ts";
import { loadAssetState, type StoredAsset } from "../schemas/asset-state.ts";
import { Command } from "../schemas/command.ts";
import { AssetEvent } from "../schemas/event.ts";
import { edgeKey, editorKey, originalKey, proxyKey } from "../schemas/key.ts";
import { noPreviousRelease, unpackPreviousRelease } from "./previous-release.ts";
import { reach } from "./simulation/reach.ts";
import { type Outcome, World } from "./simulation/world.ts";

const here = { loadAssetState, Command, AssetEvent, viewAsset, World, reach };
type Release = typeof here;

const unpacked = await unpackPreviousRelease();
afterAll(() => unpacked?.dispose());

async function before(): Promise<Release> {
  const rooms = [
    "schemas/asset-state.ts",
    "schemas/command.ts",
    "schemas/event.ts",
    "durable-objects/machine/view.ts",
    "test/simulation/world.ts",
    "test/simulation/reach.ts",
  ];
  const loaded = rooms.map((path) => import(/* @vite-ignore */ join(unpacked?.folder ?? "", path)));
  return Object.assign({}, ...(await Promise.all(loaded)));
}

const wire = (value: unknown) => JSON.parse(JSON.stringify(value));

interface Written {
  documents: StoredAsset[];
  messages: { type: string }[];
  events: AssetEvent[];
}

const courses = [
  ["succeed"],
  ["begin", "succeed"],
  ["outage", "succeed", "succeed"],
  ["fail"],
  ["succeed", "vanish"],
] as const;
const orders = [
  "CancelRequested",
  "RetryRequested",
  "DeleteRequested",
  "UndeleteRequested",
  "DeleteRequested",
] as const;

/** Everything that a release stores and sends of assets in all kinds of trouble. */
function lives(release: Release): Written {
  const written: Written = { documents: [], messages: [], events: [] };
  for (const height of [360, 1080]) {
    for (const course of courses) {
      const world = new release.World(height);
      follow(world, written, release);
      live(world, course);
      const { renditions } = world.run.asset;
      for (const { quality, jobId } of renditions) world.tell({ type: "ProxyRequested", quality, jobId });
      for (const { quality } of renditions) world.tell({ type: "EvictionRequested", quality });
      live(world, course);
      for (const { quality, jobId } of renditions) world.tell({ type: "ArchiveLost", quality, jobId, message: "gone" });
      live(world, course);
      for (const type of orders) world.tell({ type });
      world.run.advance(30 * 24 * 3_600_000);
      world.tell({ type: "GraceElapsed" });
      live(world, course);
    }
  }
  return written;
}

function live(world: World, course: readonly Outcome[]): void {
  for (let step = 0; step < 80; step += 1) {
    const outcome = course[step % course.length] ?? "succeed";
    if (step % 3 === 0 && world.commands.length > 0) world.take(0, outcome);
    else if (!world.flow()) return;
  }
}

function follow({ run }: World, written: Written, release: Release): void {
  const apply = run.apply.bind(run);
  run.apply = (event) => {
    const after = apply(event);
    written.events.push(event);
    if (after.state === null) return after;
    written.documents.push(structuredClone(after.state));
    const asset = release.viewAsset(after.state, 7, run.policy, null);
    written.messages.push(...after.effects.flatMap((effect) => messageOf(effect, asset) ?? []));
    return after;
  };
}

/** As the outbox sends it. */
function messageOf(effect: Effect, asset: Asset): { type: string } | null {
  if (effect.type === "EndLease") return null;
  const hasDocument = effect.type === "PublishCatalogue" || effect.type === "NotifyApp";
  const document = hasDocument ? { asset, timestamp: "2026-11-30T00:00:00.000Z" } : {};
  return wire({ ...effect, ...document, id: "file-0001:7:0", fileId: "file-0001", mac: "0".repeat(64) });
}

const address = { id: "file-0001:7:0", fileId: "file-0001", mac: "0".repeat(64) };
const owner = { clientName: "acme", projectName: "spring", fileId: "file-0001" };
const [proxy, edge, editor] = [proxyKey(owner, "360p"), edgeKey("0".repeat(24), "360p"), editorKey(owner, "360p")];
const copy = { ...address, op: 1, quality: "360p", jobId: "0".repeat(24) };
const proof = { sizeBytes: 1, sha256: { partSizeBytes: 1, parts: 1, composite: "0".repeat(64) } };

/** What these assets do not come to ask for. */
const rare = [
  {
    ...address,
    type: "IngestOriginal",
    op: 1,
    stage: { type: "open" },
    url: "https://origin.example.com/a.mov",
    key: originalKey({ ...owner, fileName: "a.mov" }),
    sizeBytes: 1,
    sha256: null,
  },
  { ...address, type: "CountSourceRead", generation: 1, day: "2026-11-30", bytes: 1 },
  { ...address, type: "AbortUpload", key: proxy, uploadId: "upload-1" },
  { ...address, type: "AbortEdgeUpload", key: edge, uploadId: "upload-1" },
  { ...copy, type: "RestoreArchive", stage: { type: "open" }, key: proxy, from: edge, ...proof },
  { ...copy, type: "CheckEditorCopy", key: editor, source: { key: proxy, etag: "etag-1", ...proof } },
];

describe.skipIf(unpacked === null)(unpacked === null ? noPreviousRelease : "beside the release before", () => {
  test.each(["this release wrote", "the release before wrote"])("what %s, the other reads", async (name) => {
    const both = [here, await before()] as const;
    const [writer, reader] = name === "this release wrote" ? both : both.toReversed();
    if (writer === undefined || reader === undefined) throw new Error("there are two");
    const { documents, messages, events } = lives(writer);
    expect(new Set(documents.map(({ job }) => job.state)).size).toBe(8);
    for (const document of documents) {
      // Nothing that one of them wrote is lost on the way through the other.
      expect(reader.loadAssetState(JSON.stringify(document))).toEqual(document);
    }
    for (const event of events) expect(reader.AssetEvent.parse(wire(event))).toEqual(event);
    messages.push(...rare);
    const sent = new Set(messages.map(({ type }) => type));
    const types = writer.Command.options.map(({ shape }) => shape.type.value);
    expect(types.filter((type) => !sent.has(type))).toEqual([]);
    for (const each of messages) expect(reader.Command.safeParse(each).error?.message, each.type).toBeUndefined();
  });

  test.each<AssetState>(["received", "archived", "transcoding", "distributing", "distributed", "evicted"])(
    "an asset that is %s under one is so under the other, and lives on",
    async (state) => {
      const previous = await before();
      for (const [writer, reader] of [
        [here, previous],
        [previous, here],
      ] as const) {
        const world = new reader.World(720);
        world.run.state = reader.loadAssetState(JSON.stringify(writer.reach(state).run.asset));
        expect(world.run.status).toBe(state);
        expect(world.tell({ type: "DeleteRequested" }).verdict).toBe("applied");
        expect(world.tell({ type: "UndeleteRequested" }).verdict).toBe("applied");
        expect(world.run.status).toBe(state === "transcoding" ? "archived" : state);
      }
    },
  );
});
