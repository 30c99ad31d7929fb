/**
 * How the doors say no: a `Refusal` is thrown where the fault is found, and this file alone turns it (or anything else
 * that was thrown) into an application/problem+json response.
 */
import { z } from "zod";
import type { ProblemBody } from "../schemas/api.ts";
import { type FailureCode, failureFacts } from "../schemas/failure.ts";
import { type FieldError, firstOfEachPath, inBrief, issueSentence } from "../schemas/issue-sentence.ts";
import { log } from "./log.ts";
import { ConfigError } from "./stores/config.ts";
import { StoreFailure } from "./stores/store-failure.ts";

/** The codes that a door may answer with, and the status of each. */
const statusOf = {
  BAD_REQUEST: 400,
  UNAUTHENTICATED: 401,
  BAD_SIGNATURE: 401,
  FORBIDDEN: 403,
  URL_EXPIRED: 403,
  NOT_FOUND: 404,
  METHOD_NOT_ALLOWED: 405,
  REQUEST_TIMEOUT: 408,
  BAD_MESSAGE: 409,
  ORIGINAL_MISSING: 409,
  ETAG_MISMATCH: 409,
  CONFLICT: 409,
  NOT_READY: 409,
  LEASE_LOST: 409,
  SUPERSEDED: 410,
  PRECONDITION_FAILED: 412,
  PAYLOAD_TOO_LARGE: 413,
  UNSUPPORTED_MEDIA_TYPE: 415,
  RANGE_NOT_SATISFIABLE: 416,
  UPGRADE_REQUIRED: 426,
  INTERNAL: 500,
  UNAVAILABLE: 503,
  WASABI_UNAVAILABLE: 503,
} as const satisfies Partial<Record<FailureCode, number>>;

export type RefusalCode = keyof typeof statusOf;

export class Refusal extends Error {
  override readonly name = "Refusal";
  readonly code: RefusalCode;
  readonly errors: readonly FieldError[];
  readonly headers: Readonly<Record<string, string>>;
  /** Where one code has two statuses: a playback URL's bad signature is 403, a webhook's 401. */
  readonly status: number;

  constructor(
    code: RefusalCode,
    detail: string,
    more: { errors?: readonly FieldError[]; headers?: Record<string, string>; status?: number; cause?: unknown } = {},
  ) {
    const told = inBrief(detail, more.errors ?? []);
    super(told.detail, { cause: more.cause });
    this.code = code;
    this.errors = told.errors;
    this.headers = more.headers ?? {};
    this.status = more.status ?? statusOf[code];
  }
}

/** Checks outside input. @throws Refusal BAD_REQUEST naming each field, as `data.sizeBytes` or `parts[0].n`. */
export function parseInput<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
  where: "body" | "query" | "path",
): z.infer<Schema> {
  const result = schema.safeParse(value, { error: issueSentence });
  if (result.success) return result.data;
  const errors = firstOfEachPath(result.error.issues.flatMap(fieldErrors));
  throw new Refusal("BAD_REQUEST", `The request's ${where} is not valid.`, { errors });
}

function fieldErrors(issue: z.core.$ZodIssue): FieldError[] {
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map((key) => ({ path: pathOf([...issue.path, key]), message: "is not known here" }));
  }
  return [{ path: pathOf(issue.path), message: issue.message }];
}

function pathOf(path: readonly PropertyKey[]): string {
  return z.core.toDotPath(path.map((part) => (typeof part === "symbol" ? part.toString() : part)));
}

export interface RequestFacts {
  requestId: string;
  method: string;
  /** Without its query, which may hold a signature or a ticket. */
  path: string;
}

export function requestFacts(request: Request): RequestFacts {
  return { requestId: crypto.randomUUID(), method: request.method, path: new URL(request.url).pathname };
}

/** Durable Objects mark what a moved or overloaded object throws. */
function isPassing(thrown: unknown): boolean {
  if (!(thrown instanceof Error)) return false;
  const marks = thrown as { retryable?: unknown; overloaded?: unknown };
  return marks.retryable === true || marks.overloaded === true;
}

function refusalOf(thrown: unknown): Refusal {
  if (thrown instanceof Refusal) return thrown;
  if (thrown instanceof StoreFailure) {
    if (thrown.code === "BAD_REQUEST") return new Refusal("BAD_REQUEST", thrown.message);
    const code = thrown.code === "WASABI_UNAVAILABLE" ? thrown.code : "UNAVAILABLE";
    return new Refusal(code, `${failureFacts[thrown.code].title}. Try again shortly.`, { cause: thrown });
  }
  // Nobody can sign in to a worker without valid settings: whoever deploys it learns their names here, and no value.
  if (thrown instanceof ConfigError) return new Refusal("INTERNAL", thrown.message, { cause: thrown });
  if (isPassing(thrown)) return new Refusal("UNAVAILABLE", "The asset is busy. Try again shortly.", { cause: thrown });
  return new Refusal("INTERNAL", "The request could not be carried out. It has been logged under this request id.");
}

/** The one mapping from what was thrown to the wire. What nobody foresaw is logged whole and told as INTERNAL. */
export function problemResponse(thrown: unknown, facts: RequestFacts): Response {
  const refusal = refusalOf(thrown);
  if (refusal.status >= 500) log({ event: "request.failed", ...facts, code: refusal.code }, refusal.cause ?? thrown);
  const body: ProblemBody = {
    type: `/problems/${refusal.code}`,
    title: failureFacts[refusal.code].title,
    status: refusal.status,
    code: refusal.code,
    detail: refusal.message,
    requestId: facts.requestId,
    ...(refusal.errors.length > 0 ? { errors: [...refusal.errors] } : {}),
  };
  return new Response(facts.method === "HEAD" ? null : JSON.stringify(body), {
    status: refusal.status,
    headers: {
      "content-type": "application/problem+json",
      "cache-control": "no-store",
      "x-request-id": facts.requestId,
      ...(refusal.status === 503 ? { "retry-after": "5" } : {}),
      ...refusal.headers,
    },
  });
}
