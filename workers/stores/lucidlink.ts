/** Client of lucid-agent: places and removes files in the LucidLink tree. Answers are checked; the agent is not trusted. */
import { z } from "zod";
import {
  AgentHealth,
  AgentProblemCode,
  type PlaceRequest,
  type RemoveMode,
  RemoveResult,
  Transfer,
} from "../../schemas/agent-protocol.ts";
import { codeOf, judged } from "../../schemas/failure-policy.ts";
import type { EditorKey } from "../../schemas/key.ts";
import { fetchWithin, textWithin } from "./deadline.ts";
import { retryAfterMs, StoreFailure } from "./store-failure.ts";

export interface LucidAgentConfig {
  /** Without a slash at its end. */
  url: string;
  token: string;
}

const timeoutMs = 20_000;
const longestAnswer = 1024 * 1024;

const AgentRefusal = z.object({ code: AgentProblemCode, detail: z.string().max(500).optional() });

async function ask(config: LucidAgentConfig, method: string, path: string, body?: unknown): Promise<Response> {
  const request = new Request(`${config.url}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${config.token}`,
      ...(body === undefined ? {} : { "content-type": "application/json" }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    redirect: "manual",
  });
  try {
    return await fetchWithin(request, { timeoutMs });
  } catch (cause) {
    throw new StoreFailure(codeOf("silence", "lucid-agent"), "The LucidLink agent did not answer.", { cause });
  }
}

/** A body without end must not hold a consumer. */
async function jsonOf(response: Response): Promise<unknown> {
  try {
    return JSON.parse(await textWithin(response, { limitBytes: longestAnswer, timeoutMs }));
  } catch {
    return null;
  }
}

async function answerOf<Shape extends z.ZodType>(shape: Shape, response: Response): Promise<z.infer<Shape>> {
  const json = await jsonOf(response);
  if (!response.ok) throw refusalOf(response, json);
  const parsed = shape.safeParse(json);
  if (parsed.success) return parsed.data;
  throw new StoreFailure(codeOf("silence", "lucid-agent"), "The LucidLink agent's answer cannot be read.");
}

function refusalOf(response: Response, json: unknown): StoreFailure {
  const waitMs = retryAfterMs(response.headers, Date.now());
  const refusal = AgentRefusal.safeParse(json);
  if (refusal.success) {
    const { code, detail } = refusal.data;
    return new StoreFailure(code, detail ?? `The LucidLink agent refused (${response.status}).`, {
      retryAfterMs: waitMs,
    });
  }
  const told = `The LucidLink agent answered ${response.status}.`;
  return new StoreFailure(judged("agentStatus", response.status), told, { retryAfterMs: waitMs });
}

/** Starts a transfer, or resumes the one of this id with a fresh URL. */
export async function putTransfer(config: LucidAgentConfig, id: string, request: PlaceRequest): Promise<Transfer> {
  return answerOf(Transfer, await ask(config, "PUT", `/v1/transfers/${encodeURIComponent(id)}`, request));
}

/** @returns null when the agent does not know it */
export async function getTransfer(config: LucidAgentConfig, id: string): Promise<Transfer | null> {
  const response = await ask(config, "GET", `/v1/transfers/${encodeURIComponent(id)}`);
  if (response.status === 404) {
    await response.body?.cancel();
    return null;
  }
  return answerOf(Transfer, response);
}

/** Gone already counts as done. @throws StoreFailure CONFLICT when a newer placement of the key has been asked for */
export async function removeFile(
  config: LucidAgentConfig,
  file: { key: EditorKey; mode: RemoveMode; op: number },
): Promise<void> {
  const query = new URLSearchParams({ key: file.key, mode: file.mode, op: String(file.op) });
  await answerOf(RemoveResult, await ask(config, "DELETE", `/v1/files?${query}`));
}

async function healthAnswer(config: LucidAgentConfig): Promise<Omit<AgentLook, "takesToken">> {
  const response = await ask(config, "GET", "/healthz").catch(() => null);
  const skewMs = Date.parse(response?.headers.get("date") ?? "") - Date.now();
  const parsed = AgentHealth.safeParse(response && (await jsonOf(response)));
  return { health: parsed.success ? parsed.data : null, clockSkewMs: Number.isNaN(skewMs) ? null : skewMs };
}

/** Also of one that is not well. @returns null when nothing that can be read is answered */
export async function agentHealth(config: LucidAgentConfig): Promise<AgentHealth | null> {
  return (await healthAnswer(config)).health;
}

export interface AgentLook {
  health: AgentHealth | null;
  /** The agent's clock less the worker's. */
  clockSkewMs: number | null;
  /** Null when it did not answer. */
  takesToken: boolean | null;
}

export async function lookAtAgent(config: LucidAgentConfig): Promise<AgentLook> {
  const [answer, listed] = await Promise.all([
    healthAnswer(config),
    ask(config, "GET", "/v1/transfers?limit=1").catch(() => null),
  ]);
  await listed?.body?.cancel();
  return { ...answer, takesToken: listed?.ok ?? null };
}
