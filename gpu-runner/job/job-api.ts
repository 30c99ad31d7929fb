/** The two POSTs beside a job's socket: presigned part URLs, and a fresh URL of the source. Retries what may pass. */
import { z } from "zod";
import { FailureCode, failureFacts } from "../../schemas/failure.ts";
import { PartGrant, type PartRequest, SourceGrant } from "../../schemas/runner-protocol.ts";
import { type Backoff, backoffDelayMs, pause } from "./backoff.ts";
import { callHttp, type HttpAnswer, isTransient, Unanswered } from "./http-call.ts";
import { JobFailure, LeaseLost, TokenRefused } from "./job-failure.ts";

export type JobApiOptions = {
  apiUrl: string;
  token: string;
  fileId: string;
  jobId: string;
  timeoutMs: number;
  /** Tries of one call before the job fails. */
  attempts: number;
  backoff: Backoff;
  random: () => number;
};

export type JobApi = {
  /** Throws LeaseLost, TokenRefused, JobFailure or the signal's reason. */
  parts(request: PartRequest, signal: AbortSignal): Promise<PartGrant>;
  source(lease: string, signal: AbortSignal): Promise<SourceGrant>;
};

const Problem = z.object({ code: FailureCode.optional().catch(undefined), detail: z.string().optional() });

export function jobUrl(apiUrl: string, jobId: string, fileId: string, path: "" | "/parts" | "/source"): string {
  const base = apiUrl.replace(/\/+$/, "");
  return `${base}/v1/runner/jobs/${encodeURIComponent(jobId)}${path}?asset=${encodeURIComponent(fileId)}`;
}

export function createJobApi(options: JobApiOptions): JobApi {
  async function post<Schema extends z.ZodType>(
    path: "/parts" | "/source",
    body: unknown,
    schema: Schema,
    signal: AbortSignal,
  ): Promise<z.infer<Schema>> {
    const url = jobUrl(options.apiUrl, options.jobId, options.fileId, path);
    for (let attempt = 1; ; attempt++) {
      const answer = await callHttp(url, {
        method: "POST",
        headers: { authorization: `Bearer ${options.token}`, "content-type": "application/json" },
        body: JSON.stringify(body),
        timeoutMs: options.timeoutMs,
        signal,
      }).catch((error: unknown) => {
        if (error instanceof Unanswered) return error;
        throw error;
      });
      if (!(answer instanceof Unanswered)) {
        if (answer.status === 200) return readAnswer(path, answer, schema);
        if (!isTransient(answer.status)) throw refusalOf(path, answer);
      }
      if (attempt === options.attempts) throw givenUp(path, answer);
      await pause(backoffDelayMs(attempt, options.backoff, options.random), signal);
    }
  }

  return {
    parts: (request, signal) => post("/parts", request, PartGrant, signal),
    source: (lease, signal) => post("/source", { lease }, SourceGrant, signal),
  };
}

function readAnswer<Schema extends z.ZodType>(path: string, answer: HttpAnswer, schema: Schema): z.infer<Schema> {
  const parsed = schema.safeParse(jsonOf(answer.text));
  if (parsed.success) return parsed.data;
  throw new JobFailure("RUNNER_FAILED", `The API's answer to ${path} cannot be read.`, { cause: parsed.error });
}

function refusalOf(path: string, answer: HttpAnswer): Error {
  const problem = Problem.safeParse(jsonOf(answer.text)).data;
  const what = `The API refused ${path}: HTTP ${answer.status} ${problem?.detail ?? problem?.code ?? ""}`.trim();
  if (answer.status === 401) return new TokenRefused(what);
  if (problem?.code === "LEASE_LOST" || answer.status === 409 || answer.status === 410) {
    return new LeaseLost("stale", what);
  }
  return new JobFailure(blameless(problem?.code), what);
}

/** A code such as FORBIDDEN speaks of this runner's token; reported as it is, it would fail the asset for good. */
function blameless(code: FailureCode | undefined): FailureCode {
  return code !== undefined && failureFacts[code].retryable ? code : "RUNNER_FAILED";
}

function givenUp(path: string, answer: HttpAnswer | Unanswered): JobFailure {
  const problem = answer instanceof Unanswered ? undefined : Problem.safeParse(jsonOf(answer.text)).data;
  const why = answer instanceof Unanswered ? answer.message : `HTTP ${answer.status} ${problem?.detail ?? ""}`.trim();
  return new JobFailure(blameless(problem?.code), `The API did not serve ${path}: ${why}`);
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
