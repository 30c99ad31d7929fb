/**
 * The clock of decisions: retention, deadlines, grace. Signing and what is signed go by the real one. A test may move it
 * through CLOCK_OFFSET_MS; a production deployment that tries to is refused (`config.ts`).
 */
import type { Env } from "./config.ts";

const offsetMs = ({ CLOCK_OFFSET_MS: text }: Pick<Env, "CLOCK_OFFSET_MS">): number => Number(text) || 0;

/** What the clock of decisions shows at a real time, a timer's tick say. */
export const decisionMs = (env: Pick<Env, "CLOCK_OFFSET_MS">, atMs: number): number => atMs + offsetMs(env);

export const decisionNowMs = (env: Pick<Env, "CLOCK_OFFSET_MS">): number => decisionMs(env, Date.now());

/** For what the platform itself has to wait for. */
export const realMs = (env: Pick<Env, "CLOCK_OFFSET_MS">, decisionMs: number): number => decisionMs - offsetMs(env);
