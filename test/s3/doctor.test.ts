/**
 * Doctor on a store that has versioning, lifecycle, CORS and policies, set up by the very files that docs/deployment.md
 * names: nothing is wrong; and then, one by one, what an operator may get wrong.
 */
import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { XMLBuilder } from "fast-xml-parser";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Ceph, startCeph } from "../../dev/ceph/ceph.ts";
import { bucketGroup } from "../../dev/doctor/bucket.ts";
import { type Finding, runGroups } from "../../dev/doctor/check.ts";
import { keyGroups } from "../../dev/doctor/key-right.ts";
import { s3Probe } from "../../dev/doctor/s3-probe.ts";
import { type DoctorSettings, readSettings } from "../../dev/doctor/setting.ts";
import { openWorld } from "../../dev/doctor/world.ts";
import { choosePorts } from "../../dev/port.ts";
import { mintToken } from "../../dev/secret.ts";
import { startWorker } from "../../dev/worker.ts";
import { testBindings } from "../bindings.ts";
import { runDoctor } from "../doctor-run.ts";

const fromRoot = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url));
const example = async (name: string) => await readFile(fromRoot(`docs/examples/${name}`), "utf8");

/** What Ceph calls the region of a bucket; it takes signatures of any. */
const region = "default";
const origin = "https://app.example.com";
const users = {
  worker: { uid: "worker", accessKeyId: "DOCTORWORKERKEY00001", secretAccessKey: "worker-secret-only-for-tests" },
  uploader: { uid: "uploader", accessKeyId: "DOCTORUPLOADERKEY001", secretAccessKey: "uploader-secret-only-for-tests" },
};

let folder: string;
let ceph: Ceph;
let envFile: string;
let settings: DoctorSettings;
let disposeWorker: () => Promise<void>;

async function putSetting(query: string, root: string, document: object): Promise<void> {
  const body = new XMLBuilder().build({ [root]: document });
  const answer = await s3Probe(ceph.access)({
    method: "PUT",
    query,
    body,
    headers: { "content-md5": createHash("md5").update(body).digest("base64") },
  });
  if (answer.status !== 200) throw new Error(`PUT ?${query} answered ${answer.status} ${answer.code}`);
}

async function dropSetting(query: string): Promise<void> {
  await s3Probe(ceph.access)({ method: "DELETE", query });
}

async function policyOf(holder: keyof typeof users): Promise<{ Statement: object[] }> {
  return JSON.parse((await example(`${holder}-policy.json`)).replaceAll("motion-mavericks", ceph.access.bucket));
}

const putPolicy = (holder: keyof typeof users, policy: object) =>
  ceph.putUserPolicy(users[holder].uid, "archive", policy);
const putVersioning = (status: string) => putSetting("versioning", "VersioningConfiguration", { Status: status });
const putRules = (rules: object[]) => putSetting("lifecycle", "LifecycleConfiguration", { Rule: rules });

async function documentedRules(): Promise<object[]> {
  return JSON.parse(await example("lifecycle.json")).Rules;
}

async function putDocumentedCors(): Promise<void> {
  const [rule] = JSON.parse(await example("cors.json")).CORSRules;
  await putSetting("cors", "CORSConfiguration", {
    CORSRule: {
      AllowedOrigin: rule.AllowedOrigins,
      AllowedMethod: rule.AllowedMethods,
      AllowedHeader: rule.AllowedHeaders,
      ExposeHeader: rule.ExposeHeaders,
      MaxAgeSeconds: rule.MaxAgeSeconds,
    },
  });
}

async function asDocumented(): Promise<void> {
  await putVersioning("Enabled");
  await putRules(await documentedRules());
  await putDocumentedCors();
  await putPolicy("worker", await policyOf("worker"));
  await putPolicy("uploader", await policyOf("uploader"));
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mmf-dr-"));
  ceph = await startCeph({ directory: join(folder, "c"), bucket: "doctor-archive" });
  await ceph.putUser(users.worker);
  await ceph.putUser(users.uploader);
  await asDocumented();
  const ports = await choosePorts({ api: null, pull: null });
  const api = `http://127.0.0.1:${ports.api}`;
  const wasabi = { WASABI_ENDPOINT: ceph.access.endpoint, WASABI_REGION: region, WASABI_BUCKET: ceph.access.bucket };
  const keys = {
    WASABI_ACCESS_KEY_ID: users.worker.accessKeyId,
    WASABI_SECRET_ACCESS_KEY: users.worker.secretAccessKey,
  };
  const worker = await startWorker({
    configPath: fromRoot("wrangler.toml"),
    directory: join(folder, "worker"),
    port: ports.api,
    bindings: { ...testBindings, ENVIRONMENT: "production", PUBLIC_URL: api, LUCID_AGENT_URL: "", ...wasabi, ...keys },
    pull: { port: ports.pull, token: "pull-token", queueNames: ["transcode", "transcode-rush"], maxRetries: 3 },
    faultToken: null,
  });
  disposeWorker = () => worker.dispose();
  const file = {
    API_URL: api,
    ADMIN_TOKEN: await mintToken(JSON.parse(testBindings.JWT_KEYS), "admin", "doctor", "1h"),
    ...wasabi,
    ...keys,
    UPLOADER_ACCESS_KEY_ID: users.uploader.accessKeyId,
    UPLOADER_SECRET_ACCESS_KEY: users.uploader.secretAccessKey,
    BROWSER_ORIGIN: origin,
  };
  envFile = join(folder, "doctor.env");
  await writeFile(
    envFile,
    Object.entries(file)
      .map(([name, value]) => `${name}=${value}\n`)
      .join(""),
  );
  settings = await readSettings(envFile);
});

afterAll(async () => {
  await disposeWorker?.();
  await ceph?.stop();
  await rm(folder, { recursive: true, force: true });
});

/** What is found of the store and the keys. */
async function storeFailures(over: Partial<DoctorSettings["wasabi"]> = {}): Promise<Finding[]> {
  const world = openWorld({ ...settings, wasabi: { ...settings.wasabi, ...over } }, []);
  const findings = await runGroups([bucketGroup, ...keyGroups], world);
  return findings.filter(({ outcome }) => outcome === "failed");
}

const namesOf = (findings: readonly Finding[]) => findings.map(({ group, name }) => `${group}: ${name}`);

async function listing(query: string): Promise<string[]> {
  const { text } = await s3Probe(ceph.access)({ method: "GET", query });
  return [...text.matchAll(/<Key>([^<]+)<\/Key>/g)].map(([, key]) => key ?? "");
}

test("a bucket and keys as documented have no failure, through the worker too, and nothing is left behind", async () => {
  const before = await runDoctor("--env", envFile);
  expect(before.findings.filter(({ outcome }) => outcome === "failed")).toEqual([]);
  expect(before.code).toBe(0);
  const unknown = before.findings.filter(({ outcome }) => outcome === "not-checkable").map(({ group }) => group);
  expect(unknown).not.toContain("Bucket");
  expect(unknown).not.toContain("Worker");
  expect(unknown).not.toContain("The worker's key");
  const files = await listing("list-type=2");
  await runDoctor("--env", envFile);
  expect(await listing("list-type=2")).toEqual(files);
  expect(files.every((key) => key.startsWith("proxies/.self-test/"))).toBe(true);
  expect(await listing("uploads")).toEqual([]);
});

test("an uploader who may read is found once there is an original to try it on", async () => {
  await s3Probe(ceph.access)({ method: "PUT", key: "originals/acme/film/file0001/a.mov", body: "footage" });
  expect(namesOf(await storeFailures())).toEqual([]);
  const policy = await policyOf("uploader");
  const read = { Effect: "Allow", Action: "s3:GetObject", Resource: `arn:aws:s3:::${ceph.access.bucket}/*` };
  await putPolicy("uploader", { ...policy, Statement: [...policy.Statement, read] });
  expect(namesOf(await storeFailures())).toEqual(["The uploader's key: must not s3:GetObject below originals/"]);
  await asDocumented();
});

test("a wrong region", async () => {
  const [fault, ...others] = await storeFailures({ region: "eu-central-1" });
  expect(others).toEqual([]);
  expect(fault).toMatchObject({ name: "region", fix: expect.stringContaining(`WASABI_REGION = "${region}"`) });
});

test("versioning off", async () => {
  await putVersioning("Suspended");
  const [fault, ...others] = await storeFailures();
  expect(others).toEqual([]);
  expect(fault).toMatchObject({ name: "versioning", fix: expect.stringContaining("put-bucket-versioning") });
  await asDocumented();
});

test("a lifecycle that expires files, or replaced originals too early, or aborts nothing", async () => {
  const [abort, replaced] = await documentedRules();
  const expiring = { ID: "tidy", Status: "Enabled", Filter: { Prefix: "originals/acme/" }, Expiration: { Days: 365 } };
  await putRules([abort as object, replaced as object, expiring]);
  const [fault, ...others] = await storeFailures();
  expect(others).toEqual([]);
  expect(fault).toMatchObject({ name: "lifecycle: files stay", detail: expect.stringContaining('"tidy"') });
  await putRules([{ ...replaced, NoncurrentVersionExpiration: { NoncurrentDays: 30 } }]);
  expect(namesOf(await storeFailures())).toEqual([
    "Bucket: lifecycle: replaced originals",
    "Bucket: lifecycle: abandoned uploads",
  ]);
  await asDocumented();
});

test("CORS missing", async () => {
  await dropSetting("cors");
  const [fault, ...others] = await storeFailures();
  expect(others).toEqual([]);
  expect(fault).toMatchObject({ name: "CORS", fix: expect.stringContaining("put-bucket-cors") });
  await asDocumented();
});

test("a key that may too much", async () => {
  const everything = { Effect: "Allow", Action: "s3:*", Resource: ["arn:aws:s3:::*"] };
  await putPolicy("worker", { Version: "2012-10-17", Statement: [everything] });
  const names = namesOf(await storeFailures());
  expect(names).toContain("The worker's key: must not s3:DeleteObject below originals/");
  expect(names).toContain("The worker's key: must not s3:DeleteObjectVersion below originals/");
  expect(names).toContain("The worker's key: must not s3:PutObject outside originals/ and proxies/");
  expect(names.every((name) => name.startsWith("The worker's key: must not"))).toBe(true);
  await asDocumented();
  // Neither a file nor a delete marker of the probes.
  expect((await listing("versions")).filter((key) => key.includes(".doctor/"))).toEqual([]);
  expect(await listing("uploads")).toEqual([]);
});

test("a key that may too little", async () => {
  const policy = await policyOf("worker");
  const withoutWriting = policy.Statement.filter((statement) => !JSON.stringify(statement).includes("s3:PutObject"));
  await putPolicy("worker", { ...policy, Statement: withoutWriting });
  expect(namesOf(await storeFailures())).toEqual([
    "The worker's key: may s3:PutObject below originals/",
    "The worker's key: may s3:PutObject below proxies/",
  ]);
  await asDocumented();
});
