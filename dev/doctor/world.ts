/** What doctor can reach: the API, the store with each key pair, the queues' API; each asked once where once is enough. */
import { setTimeout as sleep } from "node:timers/promises";
import { SelfTestReport } from "../../schemas/self-test.ts";
import { type Answer, answerOf, type S3Probe, s3Probe, silence } from "./s3-probe.ts";
import type { DoctorSettings } from "./setting.ts";

/** Against this machine's clock, to about a second. */
export type ClockReading = { offsetMs: number };

export type SelfTestFact = { answer: Answer; report: SelfTestReport | null };

export type World = {
  settings: DoctorSettings;
  /** Of this checkout. */
  migrationFiles: readonly string[];
  worker: S3Probe;
  uploader: S3Probe | null;
  /** Whether the store can refuse anything to a key. */
  hasPolicies(): Promise<boolean>;
  health(): Promise<Answer>;
  selfTest(): Promise<SelfTestFact>;
  queueApi(path: string): Promise<Answer>;
  /** Read in passing, one per clock. */
  clocks: Map<string, ClockReading>;
};

const putUserPolicy = (holder: string) =>
  `aws iam put-user-policy --endpoint-url https://iam.wasabisys.com --user-name mmf-${holder} --policy-name archive ` +
  `--policy-document file://docs/examples/${holder}-policy.json (with your bucket's name in it)`;

export const policyFix = { worker: putUserPolicy("worker"), uploader: putUserPolicy("uploader") } as const;

const timeoutMs = 20_000;
const selfTestTimeoutMs = 5 * 60_000;
const longestWaitSeconds = 30;

const once = <T>(ask: () => Promise<T>): (() => Promise<T>) => {
  let asked: Promise<T> | null = null;
  return () => {
    asked ??= ask();
    return asked;
  };
};

export function openWorld(settings: DoctorSettings, migrationFiles: readonly string[]): World {
  const clocks = new Map<string, ClockReading>();
  const { apiUrl, adminToken, wasabi, uploader } = settings;

  const noteDate = (name: string, answer: Answer, sentAtMs: number) => {
    const atMs = Date.parse(answer.headers.get("date") ?? "");
    if (!clocks.has(name) && !Number.isNaN(atMs)) clocks.set(name, { offsetMs: atMs - middle(sentAtMs) });
  };
  const get = (url: string, token: string | null, clock: string | null) =>
    ask(url, { headers: token === null ? {} : { authorization: `Bearer ${token}` } }, timeoutMs, (answer, sentAtMs) => {
      if (clock !== null) noteDate(clock, answer, sentAtMs);
    });
  const worker = s3Probe(wasabi, (answer, sentAtMs) => noteDate("store", answer, sentAtMs));

  return {
    settings,
    migrationFiles,
    worker,
    uploader: uploader === null ? null : s3Probe({ ...wasabi, ...uploader }),
    clocks,
    hasPolicies: once(async () => (await worker({ method: "GET", query: "policy" })).status !== 501),
    health: once(() => get(`${apiUrl}/healthz`, null, null)),
    selfTest: once(() => runSelfTest(apiUrl, adminToken, clocks)),
    queueApi: (path) =>
      settings.queues === null
        ? Promise.resolve(silence(null))
        : get(
            `${settings.queues.apiUrl}/accounts/${settings.queues.accountId}${path}`,
            settings.queues.token,
            "Cloudflare's API",
          ),
  };
}

const middle = (sentAtMs: number) => (sentAtMs + Date.now()) / 2;

async function ask(
  url: string,
  init: RequestInit,
  limitMs: number,
  seen: (answer: Answer, sentAtMs: number) => void = () => undefined,
): Promise<Answer> {
  const sentAtMs = Date.now();
  try {
    const answer = await answerOf(
      await fetch(url, { ...init, redirect: "manual", signal: AbortSignal.timeout(limitMs) }),
    );
    seen(answer, sentAtMs);
    return answer;
  } catch (error) {
    return silence(error);
  }
}

export function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** One that runs already is waited for, once. */
async function runSelfTest(apiUrl: string, token: string, clocks: World["clocks"]): Promise<SelfTestFact> {
  const send = () =>
    ask(
      `${apiUrl}/v1/admin/self-test`,
      { method: "POST", headers: { authorization: `Bearer ${token}` } },
      selfTestTimeoutMs,
    );
  let answer = await send();
  const waitSeconds = Number(answer.headers.get("retry-after") ?? Number.NaN);
  if (answer.status === 409 && waitSeconds <= longestWaitSeconds) {
    await sleep(waitSeconds * 1000 + 200);
    answer = await send();
  }
  const endedAtMs = Date.now();
  const report = answer.status === 200 ? (SelfTestReport.safeParse(jsonOf(answer.text)).data ?? null) : null;
  if (report !== null) {
    // Written as the answer left.
    const workerOffsetMs = Date.parse(report.at) - endedAtMs;
    clocks.set("worker", { offsetMs: workerOffsetMs });
    const skewMs = report.agent?.clockSkewMs ?? null;
    if (skewMs !== null) clocks.set("lucid-agent", { offsetMs: workerOffsetMs + skewMs });
  }
  return { answer, report };
}
