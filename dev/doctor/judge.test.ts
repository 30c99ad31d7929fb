/** The judges, on answers as stores and APIs give them. */
import { describe, expect, test } from "vitest";
import type { SelfTestReport } from "../../schemas/self-test.ts";
import { judgeCors, judgeObjectLock, judgeRegion, judgeVersioning } from "./bucket.ts";
import { judgeClock } from "./clock.ts";
import { judgeHealth, judgeMigrations, judgeRunner, judgeSettings, judgeTimer } from "./deployment.ts";
import { judgeRight, rights } from "./key-right.ts";
import { judgeQueue, judgeQueueIds, judgeRetention, type Queue } from "./queue.ts";
import type { Answer } from "./s3-probe.ts";
import { type DoctorSettings, settingsOf } from "./setting.ts";

const answer = (status: number, text = "", headers: Record<string, string> = {}): Answer => ({
  status,
  code: /<Code>(\w+)</.exec(text)?.[1] ?? null,
  text,
  headers: new Headers(headers),
});
const error = (status: number, code: string) => answer(status, `<Error><Code>${code}</Code></Error>`);
const denied = error(403, "AccessDenied");
const unknownOperation = error(501, "NotImplemented");

const settings: DoctorSettings = settingsOf(`
  API_URL=https://media.example.com/
  ADMIN_TOKEN=a.b.c
  WASABI_ENDPOINT=https://s3.eu-central-1.wasabisys.com
  WASABI_REGION=eu-central-1
  WASABI_BUCKET=archive
  WASABI_ACCESS_KEY_ID=KEY
  WASABI_SECRET_ACCESS_KEY=secret
  BROWSER_ORIGIN=https://app.example.com
  UPLOADER_ACCESS_KEY_ID=
`);

describe("settings", () => {
  test("what is empty is left out, and addresses lose their last slash", () => {
    expect(settings).toMatchObject({ apiUrl: "https://media.example.com", uploader: null, queues: null });
  });

  test.each([
    ["API_URL=nonsense\nADMIN_TOKEN=hunter2", /API_URL must be an http.*ADMIN_TOKEN must be.*WASABI_BUCKET is missing/],
    ["BROWSER_ORIGIN=https://a/b", /BROWSER_ORIGIN must be an origin/],
  ])("%j is refused by its names, without a value", (text, sentence) => {
    expect(() => settingsOf(text)).toThrow(sentence);
    expect(() => settingsOf(text)).not.toThrow(/hunter2|nonsense/);
  });

  test("half a pair is refused", () => {
    const whole = `API_URL=http://a\nADMIN_TOKEN=a.b.c\nWASABI_ENDPOINT=http://b\nWASABI_REGION=r\nWASABI_BUCKET=b
      WASABI_ACCESS_KEY_ID=k\nWASABI_SECRET_ACCESS_KEY=s\n`;
    expect(() => settingsOf(`${whole}UPLOADER_ACCESS_KEY_ID=UPKEY`)).toThrow("UPLOADER_SECRET_ACCESS_KEY is missing");
    expect(() => settingsOf(`${whole}QUEUES_TOKEN=t`)).toThrow("CLOUDFLARE_ACCOUNT_ID is missing");
  });
});

describe("region", () => {
  const location = (text: string) => answer(200, `<LocationConstraint>${text}</LocationConstraint>`);
  const at = (endpoint: string, region: string) => ({ ...settings, wasabi: { ...settings.wasabi, endpoint, region } });

  test.each([
    [location("eu-central-1"), settings, "ok"],
    [location("us-west-1"), settings, "failed"],
    [location(""), at("https://s3.wasabisys.com", "us-east-1"), "ok"],
    [location("us-west-1"), at("https://s3.us-west-1.wasabisys.com", "eu-central-1"), "failed"],
    [location("auto"), at("http://127.0.0.1:9", "us-east-1"), "not-checkable"],
    [error(400, "AuthorizationHeaderMalformed"), settings, "failed"],
    [error(403, "SignatureDoesNotMatch"), settings, "failed"],
    [error(403, "RequestTimeTooSkewed"), settings, "failed"],
    [error(404, "NoSuchBucket"), settings, "failed"],
    [denied, settings, "failed"],
    [answer(0), settings, "failed"],
    [error(503, "SlowDown"), settings, "not-checkable"],
  ])("%# is judged", (given, told, outcome) => {
    expect(judgeRegion(given, told).outcome).toBe(outcome);
  });
});

test("versioning is on, or failed, or unknown where the store has none; never ok without having said so", () => {
  const status = (text: string) => answer(200, `<VersioningConfiguration>${text}</VersioningConfiguration>`);
  const judged = (given: Answer, attempt: Answer | null) =>
    judgeVersioning({ answer: given, attempt }, settings).outcome;
  expect(judged(status("<Status>Enabled</Status>"), null)).toBe("ok");
  expect(judged(status("<Status>Suspended</Status>"), null)).toBe("failed");
  expect(judged(status(""), error(400, "MalformedXML"))).toBe("failed");
  expect(judged(status(""), denied)).toBe("failed");
  expect(judged(status(""), unknownOperation)).toBe("not-checkable");
  expect(judged(denied, null)).toBe("failed");
});

test("Object Lock is told, and a default retention is a failure: no upload carries a checksum header", () => {
  expect(judgeObjectLock(error(404, "ObjectLockConfigurationNotFoundError")).outcome).toBe("ok");
  const lock = (rule: string) => answer(200, `<ObjectLockConfiguration>${rule}</ObjectLockConfiguration>`);
  expect(judgeObjectLock(lock("")).outcome).toBe("ok");
  expect(judgeObjectLock(lock("<Rule><DefaultRetention><Days>1</Days></DefaultRetention></Rule>")).outcome).toBe(
    "failed",
  );
});

test("CORS is what a browser gets, whatever the configuration says", () => {
  const allowed = { "access-control-allow-origin": "*", "access-control-allow-headers": "Range, If-Match" };
  const exposed = { "access-control-allow-origin": "*", "access-control-expose-headers": "ETag, Content-Range" };
  const judged = (preflight: Answer, read: Answer, configuration = denied) =>
    judgeCors({ preflight, read, configuration }, settings);
  expect(judged(answer(200, "", allowed), answer(206, "", exposed)).outcome).toBe("ok");
  expect(judged(answer(200, "", allowed), answer(206)).outcome).toBe("failed");
  expect(
    judged(answer(200, "", { ...allowed, "access-control-allow-headers": "range" }), answer(206, "", exposed)).detail,
  ).toContain("may not send");
  expect(judged(answer(403), answer(206), error(404, "NoSuchCORSConfiguration")).outcome).toBe("failed");
  expect(judged(answer(403), answer(206), unknownOperation).outcome).toBe("not-checkable");
  const another = { ...settings, browserOrigin: null };
  expect(judgeCors({ preflight: answer(200), read: answer(200), configuration: denied }, another).outcome).toBe(
    "not-checkable",
  );
});

describe("rights", () => {
  const find = (expectation: string, action: string) => {
    const right = rights.find((each) => each.expectation === expectation && each.action === action);
    if (right === undefined) throw new Error(action);
    return right;
  };
  const may = find("may", "s3:PutObject");
  const mustNot = find("must not", "s3:DeleteObject");

  test.each([
    [may, answer(200), true, "ok"],
    [may, denied, true, "failed"],
    [may, unknownOperation, true, "not-checkable"],
    [mustNot, denied, true, "ok"],
    [mustNot, answer(403), true, "ok"],
    [mustNot, answer(204), true, "failed"],
    [mustNot, error(400, "MalformedXML"), true, "failed"],
    [mustNot, answer(204), false, "not-checkable"],
    [mustNot, error(403, "InvalidAccessKeyId"), true, "failed"],
    [mustNot, null, true, "not-checkable"],
  ])("%# is judged", (right, given, hasPolicies, outcome) => {
    expect(judgeRight(right, given, hasPolicies).outcome).toBe(outcome);
  });
});

describe("queues", () => {
  const days = (count: number) => ({ message_retention_period: count * 86_400 });
  const queue = (queue_name: string, consumers: Queue["consumers"], more: Partial<Queue> = {}): Queue => ({
    queue_id: `id-of-${queue_name}`,
    queue_name,
    consumers,
    ...more,
  });
  const dead = queue("archive-dead", [{ type: "worker" }]);
  const whole = queue("archive", [{ type: "worker", dead_letter_queue: "archive-dead" }], { settings: days(4) });

  test.each([
    [[whole, dead], "ok", ""],
    [[dead], "failed", "wrangler queues create archive"],
    [[queue("archive", []), dead], "failed", "wrangler deploy"],
    [[queue("archive", [{ type: "http_pull", dead_letter_queue: "archive-dead" }]), dead], "failed", "deploy"],
    [[queue("archive", [{ type: "worker" }]), dead], "failed", "deploy"],
    [[whole, queue("archive-dead", [])], "failed", "deploy"],
    [[{ ...whole, settings: days(1) }, dead], "failed", "--message-retention-period-secs 345600"],
    [[{ ...whole, settings: { delivery_paused: true } }, dead], "failed", "resume-delivery archive"],
  ])("%# is judged", (queues, outcome, fix) => {
    const verdict = judgeQueue("archive", queues);
    expect(verdict.outcome).toBe(outcome);
    expect(verdict.fix ?? "").toContain(fix);
  });

  test("runners' queues are pulled over HTTP", () => {
    const pushed = queue("transcode", [{ type: "worker", dead_letter_queue: "transcode-dead" }]);
    const fix = judgeQueue("transcode", [pushed, queue("transcode-dead", [{ type: "worker" }])]).fix;
    expect(fix).toBe("npx wrangler queues consumer http add transcode --dead-letter-queue transcode-dead");
  });

  test("what the API does not tell is not called ok", () => {
    expect(judgeRetention([whole, dead]).outcome).toBe("not-checkable");
    expect(judgeRetention([whole, { ...dead, settings: days(14) }]).outcome).toBe("ok");
    expect(judgeQueueIds({ archive: "id-of-archive" }, [whole]).outcome).toBe("ok");
    expect(judgeQueueIds({ archive: "another" }, [whole]).outcome).toBe("failed");
    expect(judgeQueueIds(null, [whole]).outcome).toBe("not-checkable");
  });
});

describe("clocks", () => {
  const readings = (offsets: Record<string, number>) =>
    new Map(Object.entries(offsets).map(([name, seconds]) => [name, { offsetMs: seconds * 1000 }]));
  const judged = (offsets: Record<string, number>) =>
    Object.keys(offsets).filter((name) => judgeClock(name, readings(offsets)).outcome === "failed");

  test.each([
    [{ store: 1, worker: 0, "this machine": 0, "lucid-agent": 59 }, []],
    [{ store: 1, worker: 0, "this machine": 0, "lucid-agent": -600 }, ["lucid-agent"]],
    [{ store: 600, worker: 600, "this machine": 0, "lucid-agent": 600 }, ["this machine"]],
    [{ store: 600, "this machine": 0 }, ["this machine"]],
    [{ store: 0, worker: 0, "lucid-agent": 600, "this machine": 600 }, ["lucid-agent", "this machine"]],
  ])("%j", (offsets, wrong) => {
    expect(judged(offsets as Record<string, number>)).toEqual(wrong);
  });

  test("says how far, and which way", () => {
    const { detail } = judgeClock("lucid-agent", readings({ store: 0, worker: 0, "lucid-agent": -600 }));
    expect(detail).toContain("10 min behind the others");
    expect(judgeClock("store", readings({ worker: 0 })).outcome).toBe("not-checkable");
    expect(judgeClock("this machine", readings({ "this machine": 0 })).outcome).toBe("not-checkable");
  });
});

describe("what the worker tells", () => {
  const report: SelfTestReport = {
    at: "2026-11-30T12:00:00.000Z",
    checks: [],
    settings: {
      environment: "production",
      publicUrl: "https://media.example.com",
      wasabiEndpoint: "https://s3.eu-central-1.wasabisys.com",
      wasabiRegion: "eu-central-1",
      wasabiBucket: "archive",
      wasabiAccessKeyId: "KEY",
      cloudflareAccountId: "account",
      pulledQueueIds: {},
      lucidAgentUrl: null,
      clockOffsetMs: 0,
    },
    database: { migrations: ["0001_a.sql"], timerAt: "2026-11-30T11:30:00.000Z" },
    agent: null,
    runner: { waiting: 0, pullTrouble: null, encoding: 0, lastReadDay: null },
  };

  test("another bucket than doctor was told of is a failure that names both", () => {
    expect(judgeSettings(report, settings).outcome).toBe("ok");
    const other = { ...report, settings: { ...report.settings, wasabiBucket: "other" } };
    expect(judgeSettings(other, settings)).toMatchObject({
      outcome: "failed",
      detail: expect.stringContaining("other"),
    });
  });

  test("migrations that lack are named in order, and a newer database is not called ok", () => {
    expect(judgeMigrations(report, ["0001_a.sql"]).outcome).toBe("ok");
    const verdict = judgeMigrations(report, ["0010_c.sql", "0001_a.sql", "0002_b.sql"]);
    expect(verdict.detail).toContain("0002_b.sql, 0010_c.sql");
    expect(judgeMigrations(report, []).outcome).toBe("not-checkable");
    expect(judgeMigrations({ ...report, database: null }, []).outcome).toBe("failed");
  });

  test("a timer that has been silent for hours has failed, one that never ran is not known", () => {
    expect(judgeTimer(report).outcome).toBe("ok");
    expect(judgeTimer({ ...report, at: "2026-11-30T18:00:00.000Z" }).outcome).toBe("failed");
    expect(judgeTimer({ ...report, database: { migrations: [], timerAt: null } }).outcome).toBe("not-checkable");
  });

  test("a runner is seen while it waits, encodes or has read lately", () => {
    const seen = (runner: Partial<SelfTestReport["runner"]>) =>
      judgeRunner({ ...report, runner: { ...report.runner, ...runner } }).outcome;
    expect(seen({ waiting: 1 })).toBe("ok");
    expect(seen({ encoding: 2 })).toBe("ok");
    expect(seen({ lastReadDay: "2026-11-28" })).toBe("ok");
    expect(seen({ lastReadDay: "2026-11-02" })).toBe("not-checkable");
    expect(seen({})).toBe("not-checkable");
  });

  test("a worker with wrong settings is told by what it answers", () => {
    const problem = { type: "/problems/INTERNAL", title: "t", status: 500, code: "INTERNAL", requestId: "r" };
    const detail = "The worker's settings are not valid. JWT_KEYS: must be JSON";
    expect(judgeHealth(answer(500, JSON.stringify({ ...problem, detail })))).toMatchObject({
      outcome: "failed",
      detail,
      fix: expect.stringContaining("wrangler secret put"),
    });
  });
});
