/** The local Ceph is what other suites take it for: it obeys policies and lifecycle rules, and survives kill -9. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Ceph, startCeph } from "../../dev/ceph/ceph.ts";
import { eventually } from "../../dev/eventually.ts";
import { groupMembers } from "../../dev/process-tree.ts";
import { objectUrl, type S3Access, s3Client } from "../../dev/s3.ts";

const uploader = { uid: "uploader", accessKeyId: "UPLOADERACCESSKEY001", secretAccessKey: "u".repeat(40) };
const keys = { accessKeyId: "OWNERACCESSKEY000001", secretAccessKey: "o".repeat(40) };

let directory: string;
let ceph: Ceph;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "mmf-ceph-"));
  ceph = await startCeph({ directory, ...keys });
});

afterAll(async () => {
  await ceph?.stop();
  await rm(directory, { recursive: true, force: true });
});

async function ask(method: string, key: string | null, body?: string, as: Partial<S3Access> = {}): Promise<Response> {
  const access = { ...ceph.access, ...as };
  const [name = "", query] = (key ?? "").split("?");
  const url = name === "" ? `${access.endpoint}/${access.bucket}` : objectUrl(access, name);
  const init = { method, ...(body === undefined ? {} : { body }) };
  return await s3Client(access).fetch(query === undefined ? url : `${url}?${query}`, init);
}

const status = async (...asked: Parameters<typeof ask>) => (await ask(...asked)).status;

test("a user may do what its policy says, and nothing else", async () => {
  await ceph.putUser(uploader);
  await ceph.putUser(uploader);
  expect(await status("PUT", "originals/a", "a", uploader)).toBe(403);
  const resource = `arn:aws:s3:::${ceph.access.bucket}/originals/*`;
  await ceph.putUserPolicy(uploader.uid, "upload", {
    Version: "2012-10-17",
    Statement: [{ Effect: "Allow", Action: "s3:PutObject", Resource: resource }],
  });
  expect(await status("PUT", "originals/a", "a", uploader)).toBe(200);
  // Whoever wrote an object owns it, and may read it, whatever the policy says.
  expect(await status("PUT", "originals/owners", "a")).toBe(200);
  expect(await status("GET", "originals/owners", undefined, uploader)).toBe(403);
  expect(await status("PUT", "proxies/a", "a", uploader)).toBe(403);
});

test("versions are kept once versioning is on, and lifecycle rules expire what they name", async () => {
  const enabled = `<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>`;
  expect(await status("PUT", "?versioning", enabled)).toBe(200);
  for (const body of ["first", "second"]) expect(await status("PUT", "kept/a", body)).toBe(200);
  const versions = await (await ask("GET", "?versions&prefix=kept/")).text();
  expect(versions.match(/<Version>/g)).toHaveLength(2);

  const rule = "<ID>scratch</ID><Filter><Prefix>scratch/</Prefix></Filter><Status>Enabled</Status>";
  const rules = `<LifecycleConfiguration><Rule>${rule}<Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>`;
  expect(await status("PUT", "?lifecycle", rules)).toBe(200);
  expect(await status("PUT", "scratch/a", "a")).toBe(200);
  // A run that begins within the object's one "day" leaves it to the next.
  await eventually({ what: "the expiry", timeoutMs: 60_000, everyMs: 1_000 }, async () => {
    await ceph.runLifecycle(1);
    return (await status("GET", "scratch/a")) === 404;
  });
  expect(await status("GET", "kept/a")).toBe(200);
});

test("after kill -9 of all of it nothing runs on, and what was stored is there when it is back", async () => {
  const group = ceph.pid();
  expect(groupMembers(group).length).toBeGreaterThan(3);
  process.kill(-group, "SIGKILL");
  await ceph.stop();
  expect(groupMembers(group)).toEqual([]);
  ceph = await startCeph({ directory, ...keys });
  expect(await (await ask("GET", "kept/a")).text()).toBe("second");
  expect(await status("PUT", "originals/b", "b", uploader)).toBe(200);
});
