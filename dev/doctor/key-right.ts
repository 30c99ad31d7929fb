/**
 * What a key pair may do and what it must not, tried with real requests that leave nothing behind: uploads that are
 * aborted, keys at which nothing lies, settings that no store can read. Only a key that may delete could leave a delete
 * marker, and takes it away again.
 */
import { z } from "zod";
import { check, failed, type Group, notCheckable, ok, type Verdict } from "./check.ts";
import { isDenied, refusal, told } from "./refusal.ts";
import { type Answer, type S3Probe, xmlOf } from "./s3-probe.ts";
import { policyFix, type World } from "./world.ts";

type Holder = "worker" | "uploader";
type Expectation = "may" | "must not";

type Right = {
  holder: Holder;
  expectation: Expectation;
  action: string;
  where: string;
  /** What a wrong verdict means. */
  because: string;
  attempt(probe: S3Probe, world: World): Promise<Answer | null>;
};

const scratch = (folder: string) => `${folder}.doctor/nothing.bin`;
const Created = z.object({ InitiateMultipartUploadResult: z.object({ UploadId: z.string() }) });

type Cycle = { create: Answer; parts: Answer | null; abort: Answer | null };

/** Creates an upload and aborts it at once. */
async function uploadCycle(probe: S3Probe, key: string): Promise<Cycle> {
  const create = await probe({ method: "POST", key, query: "uploads" });
  const uploadId = Created.safeParse(xmlOf(create.text)).data?.InitiateMultipartUploadResult.UploadId;
  if (uploadId === undefined) return { create, parts: null, abort: null };
  const query = `uploadId=${encodeURIComponent(uploadId)}`;
  const parts = await probe({ method: "GET", key, query });
  return { create, parts, abort: await probe({ method: "DELETE", key, query }) };
}

async function tryDelete(probe: S3Probe, key: string): Promise<Answer> {
  const answer = await probe({ method: "DELETE", key });
  const marker = answer.headers.get("x-amz-delete-marker") === "true" ? answer.headers.get("x-amz-version-id") : null;
  if (marker !== null) await probe({ method: "DELETE", key, query: `versionId=${encodeURIComponent(marker)}` });
  return answer;
}

const Listing = z.object({
  ListBucketResult: z.object({
    Contents: z.union([
      z.object({ Key: z.string() }),
      z.array(z.object({ Key: z.string() })).transform(([one]) => one),
    ]),
  }),
});

/** A missing key is answered 403 to whoever may not list, too: only one that is there tells. Looked at, never touched. */
async function headSomeOriginal(probe: S3Probe, { worker }: World): Promise<Answer | null> {
  const listing = await worker({ method: "GET", query: "list-type=2&prefix=originals%2F&max-keys=1" });
  const key = Listing.safeParse(xmlOf(listing.text)).data?.ListBucketResult.Contents?.Key;
  return key === undefined ? null : await probe({ method: "HEAD", key });
}

const putUpload = (folder: string) => async (probe: S3Probe) => (await uploadCycle(probe, scratch(folder))).create;
const noObject = "tells a missing file from a forbidden one";
const unreadable = { policy: "{", lifecycle: "<", versioning: "<" } as const;

const settingRight = (holder: Holder, action: string, query: keyof typeof unreadable, because: string): Right => ({
  holder,
  expectation: "must not",
  action,
  where: "on the bucket",
  because,
  attempt: (probe) => probe({ method: "PUT", query, body: unreadable[query] }),
});

/** What neither may. */
const forbidden = (holder: Holder): Right[] => [
  {
    holder,
    expectation: "must not",
    action: "s3:DeleteObject",
    where: "below originals/",
    because: "whoever takes this key can delete footage",
    attempt: (probe) => tryDelete(probe, scratch("originals/")),
  },
  {
    holder,
    expectation: "must not",
    action: "s3:DeleteObjectVersion",
    where: "below originals/",
    because: "whoever takes this key can delete what versioning has kept",
    attempt: (probe) => probe({ method: "DELETE", key: scratch("originals/"), query: "versionId=null" }),
  },
  settingRight(holder, "s3:PutBucketPolicy", "policy", "whoever takes this key can give itself every right"),
  settingRight(holder, "s3:PutLifecycleConfiguration", "lifecycle", "a rule can expire the whole archive"),
  settingRight(holder, "s3:PutBucketVersioning", "versioning", "versioning can be suspended before an overwrite"),
  {
    holder,
    expectation: "must not",
    action: "s3:PutObject",
    where: "outside originals/ and proxies/",
    because: "it can fill the bucket where nobody looks",
    attempt: putUpload(""),
  },
];

export const rights: readonly Right[] = [
  {
    holder: "worker",
    expectation: "may",
    action: "s3:ListBucket",
    where: "on the bucket",
    because: noObject,
    attempt: (probe) => probe({ method: "GET", query: "list-type=2&prefix=proxies%2F.doctor%2F&max-keys=1" }),
  },
  {
    holder: "worker",
    expectation: "may",
    action: "s3:ListBucketMultipartUploads",
    where: "on the bucket",
    because: "finds the uploads that nobody completes",
    attempt: (probe) => probe({ method: "GET", query: "uploads&prefix=proxies%2F.doctor%2F&max-uploads=1" }),
  },
  ...["originals/", "proxies/"].flatMap((folder): Right[] => [
    {
      holder: "worker",
      expectation: "may",
      action: "s3:GetObject",
      where: `below ${folder}`,
      because: "every read, copy and presigned URL needs it",
      attempt: (probe) => probe({ method: "GET", key: scratch(folder) }),
    },
    {
      holder: "worker",
      expectation: "may",
      action: "s3:PutObject",
      where: `below ${folder}`,
      because: "nothing can be archived without it",
      attempt: putUpload(folder),
    },
    {
      holder: "worker",
      expectation: "may",
      action: "s3:ListMultipartUploadParts",
      where: `below ${folder}`,
      because: "an upload that is gone cannot be told from a store that is busy",
      attempt: async (probe) => (await uploadCycle(probe, scratch(folder))).parts,
    },
    {
      holder: "worker",
      expectation: "may",
      action: "s3:AbortMultipartUpload",
      where: `below ${folder}`,
      because: "abandoned parts are billed",
      attempt: async (probe) => (await uploadCycle(probe, scratch(folder))).abort,
    },
  ]),
  ...forbidden("worker"),
  {
    holder: "uploader",
    expectation: "may",
    action: "s3:PutObject",
    where: "below originals/",
    because: "nothing can be uploaded without it",
    attempt: putUpload("originals/"),
  },
  {
    holder: "uploader",
    expectation: "may",
    action: "s3:ListMultipartUploadParts",
    where: "below originals/",
    because: "an upload that broke off cannot go on without it",
    attempt: async (probe) => (await uploadCycle(probe, scratch("originals/"))).parts,
  },
  {
    holder: "uploader",
    expectation: "may",
    action: "s3:AbortMultipartUpload",
    where: "below originals/",
    because: "abandoned parts are billed",
    attempt: async (probe) => (await uploadCycle(probe, scratch("originals/"))).abort,
  },
  {
    holder: "uploader",
    expectation: "must not",
    action: "s3:GetObject",
    where: "below originals/",
    because: "it could read every client's footage",
    attempt: headSomeOriginal,
  },
  {
    holder: "uploader",
    expectation: "must not",
    action: "s3:ListBucket",
    where: "on the bucket",
    because: "it could see every client's file names",
    attempt: (probe) => probe({ method: "GET", query: "list-type=2&prefix=originals%2F.doctor%2F&max-keys=1" }),
  },
  {
    holder: "uploader",
    expectation: "must not",
    action: "s3:PutObject",
    where: "below proxies/",
    because: "it could put another film under a proxy's name",
    attempt: putUpload("proxies/"),
  },
  ...forbidden("uploader"),
];

/** @param hasPolicies whether the store can refuse anything to a key at all */
export function judgeRight(right: Right, answer: Answer | null, hasPolicies: boolean): Verdict {
  const { holder, expectation, action, where, because } = right;
  if (answer === null) return notCheckable("There is nothing yet to try it on.");
  const trouble = refusal(answer);
  if (trouble !== null) return trouble;
  const denied = isDenied(answer);
  if (expectation === "may") {
    if (!denied) return ok();
    return failed(`The ${holder}'s key may not ${action} ${where}: ${because}.`, policyFix[holder]);
  }
  if (denied) return ok();
  if (!hasPolicies) return notCheckable("This store has no policies: every key may do everything.");
  return failed(
    `The ${holder}'s key may ${action} ${where} (answered ${told(answer)}, not 403): ${because}.`,
    policyFix[holder],
  );
}

const checkOf = (right: Right, probe: S3Probe) =>
  check({
    name: `${right.expectation} ${right.action} ${right.where}`,
    gather: async (world: World) => ({
      answer: await right.attempt(probe, world),
      hasPolicies: await world.hasPolicies(),
    }),
    judge: ({ answer, hasPolicies }) => judgeRight(right, answer, hasPolicies),
  });

const untold = check({
  name: "key pair",
  gather: async (_world: World) => null,
  judge: () => notCheckable("UPLOADER_ACCESS_KEY_ID is not set."),
});

const groupOf = (holder: Holder): Group<World> => ({
  title: `The ${holder}'s key`,
  async checks({ worker, uploader }) {
    const probe = holder === "worker" ? worker : uploader;
    if (probe === null) return [untold];
    return rights.filter((right) => right.holder === holder).map((right) => checkOf(right, probe));
  },
});

export const keyGroups: readonly Group<World>[] = [groupOf("worker"), groupOf("uploader")];
