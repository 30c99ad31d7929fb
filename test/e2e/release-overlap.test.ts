/**
 * This release and the one before it on the same storage: one after the other, back again, and both at once, as while a
 * deployment is under way. Each understands the other, or leaves what it does not understand as it is.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eventually } from "../../dev/eventually.ts";
import type { Asset } from "../../schemas/asset.ts";
import { noPreviousRelease, unpackPreviousRelease } from "../previous-release.ts";
import { TwoReleases } from "./two-releases.ts";

const previous = await unpackPreviousRelease();
let releases: TwoReleases;

beforeAll(async () => {
  if (previous !== null) releases = await TwoReleases.open(previous.folder);
});
afterAll(async () => {
  await releases?.close();
  await previous?.dispose();
});

async function distributed(): Promise<string> {
  const fileId = await archived();
  await releases.encode(fileId);
  await releases.until(fileId, "distributed");
  return fileId;
}

async function archived(): Promise<string> {
  const fileId = releases.newFileId();
  await releases.putOriginal(fileId);
  await releases.notice(fileId);
  await releases.until(fileId, "archived");
  return fileId;
}

/** What no deadline moves. */
function lasting({ state, jobId, original, source, renditions, createdAt, problem }: Asset) {
  return { state, jobId, original, source, renditions, createdAt, problem: problem?.code };
}

const both = (side: "before" | "now") => releases.deploy({ objects: side, consumers: side });

describe.skipIf(previous === null)(previous === null ? noPreviousRelease : "beside the release before", () => {
  test("each reads what the other has stored and carries it on: an update, a rollback, an update", async () => {
    await both("before");
    const whole = await distributed();
    const offered = await archived();
    const waiting = releases.newFileId();
    await releases.notice(waiting);
    const all = [whole, offered, waiting];
    const stored = () => Promise.all(all.map(async (fileId) => lasting(await releases.asset(fileId))));
    await eventually({ what: "a deferral", timeoutMs: 30_000 }, async () =>
      (await releases.events(waiting)).includes("StepDeferred"),
    );
    const first = await stored();

    await both("now");
    expect(await stored()).toEqual(first);
    expect((await releases.listed()).map(({ fileId }) => fileId).sort()).toEqual(all.toSorted());
    await releases.evict(whole);
    await releases.until(whole, "evicted");
    await releases.encode(offered);
    await releases.until(offered, "distributed");
    await releases.putOriginal(waiting);
    await releases.until(waiting, "archived");
    const second = await stored();

    await both("before");
    expect(await stored()).toEqual(second);
    await releases.promote(whole);
    await releases.until(whole, "distributed");
    await releases.encode(waiting);
    await releases.until(waiting, "distributed");
    await releases.evict(offered);
    await releases.until(offered, "evicted");
    const third = await stored();

    await both("now");
    expect(await stored()).toEqual(third);
    await releases.promote(offered);
    await releases.until(offered, "distributed");
    expect(await releases.deadLetters()).toEqual([]);
  });

  test("objects of the release before cannot confirm what they sent: it waits, unharmed, until they are of this one", async () => {
    await releases.deploy({ objects: "before", consumers: "now" });
    const fileId = releases.newFileId();
    await releases.putOriginal(fileId);
    await releases.notice(fileId);
    // Sent twice by then, and begun by nobody.
    await eventually({ what: "the watchdog", timeoutMs: 30_000 }, async () =>
      (await releases.events(fileId)).includes("StepOverdue"),
    );
    expect(await releases.asset(fileId)).toMatchObject({ state: "received", problem: null });
    expect((await releases.listed()).map((asset) => asset.fileId)).toContain(fileId);
    expect(await releases.deadLetters()).toEqual([]);

    await both("now");
    await releases.until(fileId, "archived");
    await releases.encode(fileId);
    await releases.until(fileId, "distributed");
  });

  test("consumers of the release before carry out all that objects of this one send, on the queue that is new to them, too", async () => {
    await releases.deploy({ objects: "now", consumers: "before" });
    const fileId = await distributed();
    await releases.evict(fileId);
    await releases.until(fileId, "evicted");
    await releases.promote(fileId);
    await releases.until(fileId, "distributed");
    await eventually({ what: "the catalogue", timeoutMs: 30_000 }, async () =>
      (await releases.listed()).some((asset) => asset.fileId === fileId && asset.state === "distributed"),
    );
    expect(await releases.deadLetters()).toEqual([]);
  });
});
