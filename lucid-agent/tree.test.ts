import { mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { mountPoints } from "./mount.ts";
import { openTree, requireSpace, spaceOf } from "./tree.ts";

test("mount points are read with their escapes", () => {
  const mountinfo = [
    "36 35 98:0 / / rw,noatime shared:1 - ext4 /dev/vda rw",
    "40 36 0:45 / /mnt/lucid\\040link rw,nosuid - fuse.lucid lucid rw",
    "",
  ].join("\n");
  expect(mountPoints(mountinfo)).toEqual(["/", "/mnt/lucid link"]);
});

const shared = "/dev/shm";
let plain: string;
let mounted: string;

beforeEach(async () => {
  plain = await mkdtemp(path.join(tmpdir(), "lucid-tree-"));
  mounted = await mkdtemp(path.join(shared, "lucid-tree-"));
});
afterEach(async () => {
  await rm(plain, { recursive: true });
  await rm(mounted, { recursive: true });
});

test("a root below a real mount is taken, and its space is told", async () => {
  await using tree = await openTree({ root: mounted, mountPoint: shared, minFreeBytes: 0 });
  const { freeBytes, totalBytes } = await spaceOf(tree);
  expect(totalBytes).toBeGreaterThan(0);
  expect(freeBytes).toBeLessThanOrEqual(totalBytes);
});

test.each([
  ["a plain folder", () => ({ root: plain, mountPoint: plain })],
  ["a plain folder beside the mount", () => ({ root: plain, mountPoint: shared })],
  ["a folder of the mount that is no mount itself", () => ({ root: mounted, mountPoint: mounted })],
  ["a mount point that is not there", () => ({ root: mounted, mountPoint: path.join(plain, "gone") })],
])("%s is not mounted", async (_name, settings) => {
  await expect(openTree({ ...settings(), minFreeBytes: 0 })).rejects.toMatchObject({ code: "LUCIDLINK_NOT_MOUNTED" });
});

test("a link below the mount point that leads elsewhere is not mounted", async () => {
  const link = path.join(mounted, "link");
  await symlink(plain, link);
  const opening = openTree({ root: link, mountPoint: shared, minFreeBytes: 0 });
  await expect(opening).rejects.toMatchObject({ code: "LUCIDLINK_NOT_MOUNTED" });
});

test("what would pass the floor is refused", async () => {
  const settings = { root: plain, mountPoint: null, minFreeBytes: 0 };
  await using tree = await openTree(settings);
  const { freeBytes } = await spaceOf(tree);
  await expect(requireSpace(tree, settings, freeBytes * 2)).rejects.toMatchObject({ code: "LUCIDLINK_FULL" });
  await expect(requireSpace(tree, settings, 0)).resolves.toBeUndefined();
});
