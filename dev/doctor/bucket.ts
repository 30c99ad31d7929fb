/** The bucket's own settings, read with the worker's key, and what browsers get of it. */
import { z } from "zod";
import { objectUrl } from "../s3.ts";
import { type Check, check, failed, type Group, notCheckable, ok, type Verdict } from "./check.ts";
import { judgeAbort, judgeExpiry, judgeNoncurrent, type LifecycleRule, readLifecycle } from "./lifecycle.ts";
import { isDenied, refusal, told } from "./refusal.ts";
import { type Answer, answerOf, silence, xmlOf } from "./s3-probe.ts";
import type { DoctorSettings } from "./setting.ts";
import { policyFix, type World } from "./world.ts";

const timeoutMs = 20_000;

const aws = ({ wasabi }: DoctorSettings, command: string, options: string) =>
  `aws s3api ${command} --endpoint-url ${wasabi.endpoint} --bucket ${wasabi.bucket} ${options}`;

const putVersioning = (settings: DoctorSettings) =>
  aws(settings, "put-bucket-versioning", "--versioning-configuration Status=Enabled");
const putLifecycle = (settings: DoctorSettings) =>
  aws(settings, "put-bucket-lifecycle-configuration", "--lifecycle-configuration file://docs/examples/lifecycle.json");
const putCors = (settings: DoctorSettings) =>
  aws(settings, "put-bucket-cors", "--cors-configuration file://docs/examples/cors.json");

/** @returns the verdict of an answer that cannot be read; null for one that can */
function unread(answer: Answer, action: string): Verdict | null {
  const known = refusal(answer);
  if (known !== null) return known;
  if (isDenied(answer)) return failed(`The worker's key may not ${action}.`, policyFix.worker);
  return answer.status === 200 ? null : notCheckable(`The store answered ${told(answer)}.`);
}

const Location = z.object({ LocationConstraint: z.string() });
const wasabiHost = /^s3(?:\.([a-z0-9-]+))?\.wasabisys\.com$/;

/** An empty location is the store's first region; `auto` is that of a store without regions. */
export function judgeRegion(answer: Answer, { wasabi: { endpoint, region } }: DoctorSettings): Verdict {
  const repair = (right: string) =>
    `Set WASABI_REGION = "${right}" in wrangler.toml (and the env file), then npx wrangler deploy.`;
  const host = wasabiHost.exec(new URL(endpoint).hostname);
  const hosted = host === null ? null : (host[1] ?? "us-east-1");
  if (hosted !== null && hosted !== region) {
    return failed(`WASABI_REGION is ${region}, the endpoint is of ${hosted}.`, repair(hosted));
  }
  const trouble = unread(answer, "s3:GetBucketLocation");
  if (trouble !== null) return trouble;
  const parsed = Location.safeParse(xmlOf(answer.text));
  if (!parsed.success) return notCheckable("The store's answer cannot be read.");
  const location = parsed.data.LocationConstraint || "us-east-1";
  if (location === "auto") return notCheckable("This store has no regions.");
  if (location === region) return ok(region);
  return failed(
    `WASABI_REGION is ${region}, the bucket lies in ${location}: signatures of another region are refused.`,
    repair(location),
  );
}

type VersioningFact = { answer: Answer; attempt: Answer | null };
const Versioning = z.object({
  VersioningConfiguration: z.union([z.literal(""), z.object({ Status: z.string().optional() })]),
});

function statusOf(answer: Answer): string | null {
  const parsed = Versioning.safeParse(xmlOf(answer.text));
  if (!parsed.success || parsed.data.VersioningConfiguration === "") return null;
  return parsed.data.VersioningConfiguration.Status ?? null;
}

export function judgeVersioning({ answer, attempt }: VersioningFact, settings: DoctorSettings): Verdict {
  const trouble = unread(answer, "s3:GetBucketVersioning");
  if (trouble !== null) return trouble;
  const status = statusOf(answer);
  if (status === "Enabled") return ok("on");
  if (attempt?.status === 501) return notCheckable("This store has no versioning.");
  return failed(
    `Versioning is ${status === null ? "off" : status.toLowerCase()}: an original that is overwritten or deleted is gone.`,
    putVersioning(settings),
  );
}

function lifecycleRules(answer: Answer): LifecycleRule[] | Verdict {
  if (answer.code === "NoSuchLifecycleConfiguration") return [];
  return (
    unread(answer, "s3:GetLifecycleConfiguration") ??
    readLifecycle(answer.text) ??
    notCheckable("The store's rules cannot be read.")
  );
}

function lifecycleCheck(name: string, judge: (rules: readonly LifecycleRule[], fix: string) => Verdict): Check<World> {
  return check({
    name,
    gather: ({ worker }: World) => worker({ method: "GET", query: "lifecycle" }),
    judge(answer, { settings }) {
      const rules = lifecycleRules(answer);
      return Array.isArray(rules) ? judge(rules, putLifecycle(settings)) : rules;
    },
  });
}

/** With a default retention S3 asks for a checksum header on every PUT and part, which nothing here sends. */
export function judgeObjectLock(answer: Answer): Verdict {
  if (answer.code === "ObjectLockConfigurationNotFoundError") return ok("off");
  const trouble = unread(answer, "s3:GetBucketObjectLockConfiguration");
  if (trouble !== null) return trouble;
  if (!/<DefaultRetention>/.test(answer.text)) return ok("on, without a default retention");
  return failed(
    "Object Lock has a default retention: the store may refuse every upload that carries no checksum header, and these carry none.",
    "Remove the bucket's default retention in Wasabi's console; versioning with its lifecycle rule is what is supported.",
  );
}

export type CorsFact = { preflight: Answer; read: Answer; configuration: Answer };

const asked = { method: "GET", headers: ["range", "if-match"] } as const;
const exposed = ["etag", "content-range"] as const;

const listed = (answer: Answer, header: string) =>
  (answer.headers.get(header) ?? "").split(",").map((each) => each.trim().toLowerCase());

/** What a browser would do, and no more: a store may have a default that no configuration shows. */
export function judgeCors({ preflight, read, configuration }: CorsFact, settings: DoctorSettings): Verdict {
  const { browserOrigin } = settings;
  if (browserOrigin === null) return notCheckable("BROWSER_ORIGIN is not set.");
  if (preflight.status === 0) return refusal(preflight) ?? notCheckable("no answer");
  const allows = (answer: Answer) =>
    ["*", browserOrigin].includes(answer.headers.get("access-control-allow-origin") ?? "");
  const covers = (header: string, wanted: readonly string[]) => {
    const found = listed(preflight, header);
    return found.includes("*") || wanted.every((each) => found.includes(each));
  };
  const faults = [
    ...(allows(preflight) ? [] : [`a preflight from ${browserOrigin} is refused (${told(preflight)})`]),
    ...(!allows(preflight) || covers("access-control-allow-headers", asked.headers)
      ? []
      : [`it may not send ${asked.headers.join(" and ")}`]),
    ...missingExposed(read, allows(read)),
  ];
  if (faults.length === 0) return ok(`${browserOrigin} may read ranges`);
  if (configuration.status === 501) return notCheckable("This store has no CORS configuration.");
  return failed(
    `Pages of ${browserOrigin} cannot read originals by their presigned URLs: ${faults.join("; ")}.`,
    putCors(settings),
  );
}

function missingExposed(read: Answer, isAllowed: boolean): string[] {
  if (!isAllowed) return ["an answer to a GET may not be read"];
  const found = listed(read, "access-control-expose-headers");
  const missing = found.includes("*") ? [] : exposed.filter((each) => !found.includes(each));
  return missing.length === 0 ? [] : [`it does not see ${missing.join(" and ")}`];
}

/** An object that the self-test has written. */
const readableKey = "proxies/.self-test/clip.mp4";

async function gatherCors({ settings, worker }: World): Promise<CorsFact> {
  const origin = settings.browserOrigin ?? "https://browser.invalid";
  const preflight = await fetch(objectUrl(settings.wasabi, readableKey), {
    method: "OPTIONS",
    headers: {
      origin,
      "access-control-request-method": asked.method,
      "access-control-request-headers": asked.headers.join(","),
    },
    signal: AbortSignal.timeout(timeoutMs),
  }).then(answerOf, silence);
  const [read, configuration] = await Promise.all([
    worker({ method: "GET", key: readableKey, headers: { origin, range: "bytes=0-0" } }),
    worker({ method: "GET", query: "cors" }),
  ]);
  return { preflight, read, configuration };
}

const checks: readonly Check<World>[] = [
  check({
    name: "region",
    gather: ({ worker }: World) => worker({ method: "GET", query: "location" }),
    judge: (answer, { settings }) => judgeRegion(answer, settings),
  }),
  check({
    name: "versioning",
    async gather({ worker }: World): Promise<VersioningFact> {
      const answer = await worker({ method: "GET", query: "versioning" });
      if (answer.status !== 200 || statusOf(answer) !== null) return { answer, attempt: null };
      // No store takes this; one without versioning says that it has none.
      return { answer, attempt: await worker({ method: "PUT", query: "versioning", body: "<" }) };
    },
    judge: (fact, { settings }) => judgeVersioning(fact, settings),
  }),
  lifecycleCheck("lifecycle: files stay", judgeExpiry),
  lifecycleCheck("lifecycle: replaced originals", judgeNoncurrent),
  lifecycleCheck("lifecycle: abandoned uploads", judgeAbort),
  check({
    name: "Object Lock",
    gather: ({ worker }: World) => worker({ method: "GET", query: "object-lock" }),
    judge: judgeObjectLock,
  }),
  check({ name: "CORS", gather: gatherCors, judge: (fact, { settings }) => judgeCors(fact, settings) }),
];

export const bucketGroup: Group<World> = { title: "Bucket", checks: async () => checks };
