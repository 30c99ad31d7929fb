/** The operators' doors to retention: what they change, whom they refuse, and what they leave in the record. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Asset } from "../../schemas/asset.ts";
import type { AuditEntry } from "../../schemas/audit.ts";
import type { StoredRetention } from "../../schemas/retention.ts";
import type { ProjectRun } from "../../schemas/retention-order.ts";
import type { Why } from "../../schemas/why.ts";
import { call, config, env, problemOf, quality, seedProxy, storedState, token } from "../../test/door-worker.ts";
import { advanceProjectRuns } from "../cron/project-run.ts";
import { publishAssets } from "../stores/catalogue.ts";

const dayMs = 24 * 60 * 60_000;
const inDays = (days: number) => new Date(Date.now() + days * dayMs).toISOString();
const admin = await token("admin");
const ofAcme = await token("admin", ["acme"]);

let projects = 0;
function newProject(): string {
  projects += 1;
  return `project-${projects}`;
}

beforeEach(async () => {
  for (const table of ["policy", "project_pins", "project_runs", "audit", "sweeps"]) {
    await env.CATALOGUE.prepare(`DELETE FROM ${table}`).run();
  }
});
afterEach(() => env.CATALOGUE.prepare("DELETE FROM policy").run());

async function listed(projectName: string, placed = true) {
  const seeded = await seedProxy({ placed, projectName });
  const asset = await seeded.door.view();
  if (asset === null) throw new Error("there is no asset");
  await publishAssets(env.CATALOGUE, [asset]);
  return seeded;
}

const ask = (path: string, json: unknown = {}, method = "POST", as = admin) =>
  call(`/v1/admin/${path}`, { method, token: as, ...(method === "GET" ? {} : { json }) });

async function audit(as = admin): Promise<AuditEntry[]> {
  const response = await ask("audit", {}, "GET", as);
  return ((await response.json()) as { entries: AuditEntry[] }).entries;
}

const edgeStateOf = async (fileId: string) =>
  (await storedState(fileId)).renditions[0]?.copies.find(({ tier }) => tier === "r2")?.state;

describe("the policy", () => {
  const read = async () => (await (await ask("policy", {}, "GET")).json()) as StoredRetention;

  test("is the deployment's own until it is changed, and carries a version from then on", async () => {
    const before = await read();
    expect(before).toEqual({
      version: 0,
      policy: { retentionDays: config.policy.retentionDays, overrides: [] },
      updatedAt: null,
      updatedBy: null,
    });
    const retentionDays = { ...before.policy.retentionDays, "360p": 3 };
    const overrides = [{ clientName: "acme", projectName: "film", retentionDays: { "360p": 90 } }];
    const changed = await ask("policy", { version: 0, policy: { retentionDays, overrides } }, "PUT");
    expect(changed.status).toBe(200);
    expect(await read()).toMatchObject({
      version: 1,
      policy: { retentionDays, overrides },
      updatedBy: "admin:test-admin",
    });
    expect(await audit()).toMatchObject([
      { action: "policy.changed", by: "admin:test-admin", detail: { from: before.policy, to: { retentionDays } } },
    ]);
  });

  test.each([0, 1])("of two who change version %i the second is told to read again", async (version) => {
    const { policy } = await read();
    for (let done = 0; done < version; done += 1) await ask("policy", { version: done, policy }, "PUT");
    const [first, second] = await Promise.all([
      ask("policy", { version, policy }, "PUT"),
      ask("policy", { version, policy }, "PUT"),
    ]);
    expect([first.status, second.status].sort()).toEqual([200, 409]);
    const refused = first.status === 409 ? first : second;
    expect(await problemOf(refused)).toMatchObject({
      code: "CONFLICT",
      errors: [{ path: "version", message: `must be ${version + 1}` }],
    });
    expect((await audit()).filter(({ action }) => action === "policy.changed")).toHaveLength(version + 1);
  });

  test.each([
    ["policy.retentionDays.360p", { retentionDays: { "360p": 0 } }],
    ["policy.retentionDays.720p", { retentionDays: { "720p": "a week" } }],
    ["policy.retentionDays.144p", { retentionDays: { "144p": 1 } }],
    ["policy.overrides[0].clientName", { overrides: [{ clientName: "A Corp", retentionDays: { "360p": 1 } }] }],
    ["policy.overrides[0].retentionDays", { overrides: [{ clientName: "acme", retentionDays: {} }] }],
    [
      "policy.overrides[1]",
      {
        overrides: [
          { clientName: "acme", retentionDays: { "360p": 1 } },
          { clientName: "acme", retentionDays: { "540p": 1 } },
        ],
      },
    ],
  ])("a change with a bad %s names it and changes nothing", async (path, over) => {
    const { policy } = await read();
    const bad = {
      ...policy,
      ...over,
      retentionDays: { ...policy.retentionDays, ...("retentionDays" in over ? over.retentionDays : {}) },
    };
    const problem = await problemOf(await ask("policy", { version: 0, policy: bad }, "PUT"));
    expect(
      problem.errors?.map((error) => error.path.replace('["144p"]', ".144p").replace(/\["(\w+)"\]/, ".$1")),
    ).toEqual([path]);
    expect((await read()).version).toBe(0);
    expect(await audit()).toEqual([]);
  });

  test("is for those who answer for every client", async () => {
    expect((await ask("policy", {}, "GET", ofAcme)).status).toBe(403);
    expect((await ask("policy", { version: 0, policy: (await read()).policy }, "PUT", ofAcme)).status).toBe(403);
  });
});

describe("an asset", () => {
  test("is pinned and unpinned, and both are on record", async () => {
    const { upload } = await listed(newProject());
    const { fileId } = upload;
    const until = inDays(60);
    const pinned = (await (await ask(`assets/${fileId}/pin`, { until })).json()) as Asset;
    const copy = pinned.renditions[0]?.copies.find(({ tier }) => tier === "r2");
    expect(copy).toMatchObject({ pinnedUntil: until, evictAfter: until });
    expect(await problemOf(await ask(`assets/${fileId}/evict`))).toMatchObject({
      code: "CONFLICT",
      detail: `360p is pinned until ${until}: unpin the asset first.`,
    });
    await ask(`assets/${fileId}/unpin`);
    expect((await storedState(fileId)).pinnedUntilMs).toBeNull();
    expect(await audit(ofAcme)).toMatchObject([
      { action: "asset.unpinned", fileId },
      { action: "asset.pinned", fileId, clientName: "acme", detail: { until, taken: 1 } },
    ]);
    expect(await audit(await token("admin", ["rival"]))).toEqual([]);
  });

  test("leaves R2 and comes back as ordered", async () => {
    const { upload } = await listed(newProject());
    const { fileId } = upload;
    expect((await ask(`assets/${fileId}/evict`, { qualities: ["720p"] })).status).toBe(200);
    expect(await edgeStateOf(fileId)).toBe("placed");
    await ask(`assets/${fileId}/evict`);
    expect(await edgeStateOf(fileId)).toBe("removing");
    await ask(`assets/${fileId}/promote`, { qualities: [quality], until: inDays(7) });
    expect((await storedState(fileId)).renditions[0]?.copies[0]).toMatchObject({
      wantedAgain: true,
      reason: "operator",
    });
    expect(await problemOf(await ask(`assets/${fileId}/promote`, { qualities: ["2160p"] }))).toMatchObject({
      code: "NOT_READY",
    });
  });

  test("of a pinned project does not leave R2, and its eviction is not on record", async () => {
    const projectName = newProject();
    const { upload } = await listed(projectName);
    const until = inDays(4);
    await ask(`projects/acme/${projectName}/pin`, { until });
    expect(await problemOf(await ask(`assets/${upload.fileId}/evict`))).toMatchObject({
      code: "CONFLICT",
      detail: `The asset's project is pinned until ${until}: unpin the project first.`,
    });
    expect(await edgeStateOf(upload.fileId)).toBe("placed");
    expect((await audit()).map(({ action }) => action)).toEqual(["project.pinned"]);
    await ask(`projects/acme/${projectName}/unpin`);
    expect((await ask(`assets/${upload.fileId}/evict`)).status).toBe(200);
  });

  test("that takes nothing of an order says so, and the attempt is on record", async () => {
    const { upload, door } = await listed(newProject());
    const { fileId } = upload;
    await door.apply({ key: null, by: "test", event: { type: "DeleteRequested" } });
    expect(await problemOf(await ask(`assets/${fileId}/promote`, { qualities: [quality] }))).toMatchObject({
      status: 409,
      code: "NOT_READY",
      detail: "The asset is deleting, and took nothing of the order.",
    });
    expect(await audit()).toMatchObject([{ action: "asset.promoted", fileId, detail: { taken: 0 } }]);
  });

  test("that is as was asked already is no refusal", async () => {
    const { upload } = await listed(newProject());
    const until = inDays(9);
    for (const order of ["pin", "pin"]) {
      expect((await ask(`assets/${upload.fileId}/${order}`, { until })).status).toBe(200);
    }
    await ask(`assets/${upload.fileId}/unpin`);
    for (const order of ["evict", "evict"]) {
      expect((await ask(`assets/${upload.fileId}/${order}`)).status).toBe(200);
    }
    expect((await audit()).map(({ detail }) => detail.taken)).toEqual([0, 1, 1, 0, 1]);
  });

  test("is told nothing that cannot be put on record", async () => {
    const { upload } = await listed(newProject());
    const prepare = (sql: string) => {
      if (sql.includes("INSERT INTO audit")) throw new Error("D1 is away");
      return env.CATALOGUE.prepare(sql);
    };
    const CATALOGUE = { prepare, batch: env.CATALOGUE.batch.bind(env.CATALOGUE) } as unknown as D1Database;
    const response = await call(`/v1/admin/assets/${upload.fileId}/evict`, {
      method: "POST",
      token: admin,
      json: {},
      env: { ...env, CATALOGUE },
    });
    expect(response.status).toBe(500);
    expect(await edgeStateOf(upload.fileId)).toBe("placed");
  });

  test.each([
    ["must lie ahead", -1],
    ["must be within ten years", 4_000],
  ])("a pin's end %s", async (message, days) => {
    const { upload } = await listed(newProject());
    const problem = await problemOf(await ask(`assets/${upload.fileId}/pin`, { until: inDays(days) }));
    expect(problem.errors).toEqual([{ path: "until", message }]);
    expect(await audit()).toEqual([]);
  });

  test("tells when it leaves by the policy in force, and by its project's pin", async () => {
    const projectName = newProject();
    const { upload } = await listed(projectName);
    const overrides = [{ clientName: "acme", projectName, retentionDays: { "360p": 3 } }];
    await ask("policy", { version: 0, policy: { retentionDays: config.policy.retentionDays, overrides } }, "PUT");
    const edge = async () => {
      const response = await call(`/v1/assets/${upload.fileId}`, { token: admin });
      const { renditions } = (await response.json()) as Asset;
      return renditions[0]?.copies.find(({ tier }) => tier === "r2");
    };
    const copy = await edge();
    expect(Date.parse(copy?.evictAfter ?? "") - Date.parse(copy?.placedAt ?? "")).toBe(3 * dayMs);
    const until = inDays(40);
    await ask(`projects/acme/${projectName}/pin`, { until });
    expect(await edge()).toMatchObject({ evictAfter: until, pinnedUntil: until });
  });

  test("is explained under the policy in force and its project's pin", async () => {
    const projectName = newProject();
    const { upload } = await listed(projectName);
    const until = inDays(50);
    await ask(`projects/acme/${projectName}/pin`, { until });
    const response = await call(`/v1/assets/${upload.fileId}/why`, { token: await token("viewer", ["acme"]) });
    const { copies } = (await response.json()) as { copies: Why[] };
    expect(copies.map(({ tier, quality: of }) => `${tier} ${of}`)).toContain("wasabi original");
    expect(copies.find(({ tier }) => tier === "r2")).toMatchObject({
      next: { at: until },
      blockedBy: `Its project is pinned until ${until}.`,
    });
    const stranger = await call(`/v1/assets/${upload.fileId}/why`, { token: await token("viewer", ["rival"]) });
    expect(stranger.status).toBe(404);
  });
});

describe("a project", () => {
  test.each([
    ["pin", "POST", { until: inDays(1) }],
    ["unpin", "POST", {}],
    ["wrap", "POST", {}],
    ["prewarm", "POST", { qualities: [quality] }],
    ["runs", "GET", {}],
  ])("that nobody has, or another client's, is not found by %s, and nothing is written", async (verb, method, body) => {
    const projectName = newProject();
    const { upload } = await listed(projectName);
    const rival = await token("admin", ["rival"]);
    const theirs = await ask(`projects/acme/${projectName}/${verb}`, body, method, rival);
    const nobodys = await ask(`projects/acme/nothing-here/${verb}`, body, method);
    expect([theirs.status, nobodys.status]).toEqual([404, 404]);
    for (const table of ["project_pins", "project_runs", "audit"]) {
      expect(await env.CATALOGUE.prepare(`SELECT count(*) AS n FROM ${table}`).first("n")).toBe(0);
    }
    expect(await edgeStateOf(upload.fileId)).toBe("placed");
    expect((await ask(`projects/acme/${projectName}/${verb}`, body, method, ofAcme)).status).toBeLessThan(300);
  });

  test("is wrapped: first shown, then done, and what is pinned stays", async () => {
    const projectName = newProject();
    const leaving = [await listed(projectName), await listed(projectName)];
    // One of them is on its way to R2 just now.
    leaving.push(await listed(projectName, false));
    const kept = [await listed(projectName), await listed(projectName, false)];
    for (const { upload, door } of kept) {
      await ask(`assets/${upload.fileId}/pin`, { until: inDays(60) });
      const pinned = await door.view();
      if (pinned !== null) await publishAssets(env.CATALOGUE, [pinned]);
    }

    const preview = await ask(`projects/acme/${projectName}/wrap`, { dryRun: true });
    expect(preview.status).toBe(200);
    expect(await preview.json()).toEqual({
      leaving: { copies: 3, bytes: 3_000 },
      pinned: { copies: 2, bytes: 2_000 },
      savedUsdPerMonth: 0,
      run: null,
    });
    const statesOf = (assets: typeof leaving) => Promise.all(assets.map(({ upload }) => edgeStateOf(upload.fileId)));
    expect(await statesOf(leaving)).toEqual(["placed", "placed", "placing"]);

    const ordered = await ask(`projects/acme/${projectName}/wrap`);
    expect(ordered.status).toBe(202);
    await advanceProjectRuns(env, Date.now());
    expect(await statesOf(leaving)).toEqual(["removing", "removing", "removing"]);
    expect(await statesOf(kept)).toEqual(["placed", "placing"]);
    const { runs } = (await (await ask(`projects/acme/${projectName}/runs`, {}, "GET")).json()) as {
      runs: ProjectRun[];
    };
    expect(runs).toMatchObject([
      { kind: "wrap", assets: 5, ordered: 3, unanswered: 0, finishedAt: expect.any(String) },
    ]);
    expect(await audit()).toMatchObject([
      { action: "project.wrapped", projectName },
      { action: "asset.pinned" },
      { action: "asset.pinned" },
    ]);
  });

  test("that is pinned is not wrapped", async () => {
    const projectName = newProject();
    const { upload } = await listed(projectName);
    await ask(`projects/acme/${projectName}/pin`, { until: inDays(2) });
    expect(await problemOf(await ask(`projects/acme/${projectName}/wrap`))).toMatchObject({ code: "CONFLICT" });
    expect(await (await ask(`projects/acme/${projectName}/wrap`, { dryRun: true })).json()).toMatchObject({
      leaving: { copies: 0, bytes: 0 },
      pinned: { copies: 1, bytes: 1_000 },
    });
    await ask(`projects/acme/${projectName}/unpin`);
    expect((await ask(`projects/acme/${projectName}/wrap`)).status).toBe(202);
    await advanceProjectRuns(env, Date.now());
    expect(await edgeStateOf(upload.fileId)).toBe("removing");
  });

  test("is brought to R2 before a screening, and stays until its end", async () => {
    const projectName = newProject();
    const absent = await listed(projectName, false);
    const present = await listed(projectName);
    const until = inDays(3);
    const order = { qualities: [quality], until };
    const preview = await ask(`projects/acme/${projectName}/prewarm`, { ...order, dryRun: true });
    expect(await preview.json()).toMatchObject({
      coming: { copies: 1, bytes: 1_000 },
      present: { copies: 1, bytes: 1_000 },
      run: null,
    });
    expect((await ask(`projects/acme/${projectName}/prewarm`, order)).status).toBe(202);
    await advanceProjectRuns(env, Date.now());
    for (const { upload } of [absent, present]) {
      const copy = (await storedState(upload.fileId)).renditions[0]?.copies.find(({ tier }) => tier === "r2");
      expect(copy).toMatchObject({ pinnedUntilMs: Date.parse(until) });
      expect(["placing", "placed"]).toContain(copy?.state);
    }
  });
});
