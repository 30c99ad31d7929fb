/** How the agent says no: a `Refusal` is thrown where the fault is found, and this file alone puts it on the wire. */
import type { z } from "zod";
import type { ProblemBody } from "../schemas/api.ts";
import { type FailureCode, failureFacts } from "../schemas/failure.ts";
import { type FieldError, firstOfEachPath, inBrief, issueSentence } from "../schemas/issue-sentence.ts";
import { AgentFailure, asAgentFailure, errnoOf } from "./failure.ts";

const statusOf = {
  BAD_REQUEST: 400,
  UNAUTHENTICATED: 401,
  PATH_REFUSED: 403,
  NOT_FOUND: 404,
  METHOD_NOT_ALLOWED: 405,
  CONFLICT: 409,
  PAYLOAD_TOO_LARGE: 413,
  UNSUPPORTED_MEDIA_TYPE: 415,
  INTERNAL: 500,
  UNAVAILABLE: 503,
  LUCIDLINK_NOT_MOUNTED: 503,
  LUCIDLINK_UNAVAILABLE: 503,
  LUCIDLINK_FULL: 507,
} as const satisfies Partial<Record<FailureCode, number>>;
export type RefusalCode = keyof typeof statusOf;

export class Refusal extends Error {
  override readonly name = "Refusal";
  readonly code: RefusalCode;
  readonly errors: readonly FieldError[];
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    code: RefusalCode,
    detail: string,
    more: { errors?: readonly FieldError[]; headers?: Record<string, string>; cause?: unknown } = {},
  ) {
    const told = inBrief(detail, more.errors ?? []);
    super(told.detail, { cause: more.cause });
    this.code = code;
    this.errors = told.errors;
    this.headers = more.headers ?? {};
  }

  get status(): number {
    return statusOf[this.code];
  }
}

/** @throws Refusal BAD_REQUEST naming each field. */
export function parseInput<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
  where: "body" | "query" | "path",
): z.infer<Schema> {
  const result = schema.safeParse(value, { error: issueSentence });
  if (result.success) return result.data;
  const errors = firstOfEachPath(result.error.issues).map(({ path, message }) => ({
    path: path.map(String).join("."),
    message,
  }));
  throw new Refusal("BAD_REQUEST", `The request's ${where} is not valid.`, { errors });
}

/** Anything thrown at a door, as a Refusal. */
export function asRefusal(thrown: unknown): Refusal {
  if (thrown instanceof Refusal) return thrown;
  if (thrown instanceof AgentFailure || errnoOf(thrown) !== null) {
    const { code, message } = asAgentFailure(thrown);
    if (code in statusOf) return new Refusal(code as RefusalCode, message, { cause: thrown });
  }
  return new Refusal("INTERNAL", "The request could not be carried out; it is logged under this request id.", {
    cause: thrown,
  });
}

export function problemResponse(refusal: Refusal, requestId: string): Response {
  const body: ProblemBody = {
    type: `/problems/${refusal.code}`,
    title: failureFacts[refusal.code].title,
    status: refusal.status,
    code: refusal.code,
    detail: refusal.message,
    requestId,
    ...(refusal.errors.length > 0 ? { errors: [...refusal.errors] } : {}),
  };
  return new Response(JSON.stringify(body), {
    status: refusal.status,
    headers: {
      "content-type": "application/problem+json",
      ...(refusal.status === 503 || refusal.status === 507 ? { "retry-after": "5" } : {}),
      ...refusal.headers,
    },
  });
}
