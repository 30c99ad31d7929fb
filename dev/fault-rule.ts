/**
 * What a fault proxy may do to its link, and what that means for the bytes that pass. Pure: sockets and time are the
 * link's affair.
 */
import { z } from "zod";
import { type Head, methodOf, targetOf } from "./http-frame.ts";

/** How an overloaded server answers. */
const answers = {
  "503": { status: "503 Service Unavailable", contentType: "text/plain", body: "busy" },
  /** S3's own. */
  "slow-down": { status: "503 Slow Down", contentType: "application/xml", body: s3Error("SlowDown") },
  /** Wasabi's. */
  "rate-limit": { status: "403 Forbidden", contentType: "application/xml", body: s3Error("RequestRateLimitExceeded") },
} as const;

function s3Error(code: string): string {
  return `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>Reduce your request rate.</Message><RequestId>0</RequestId></Error>`;
}

const Milliseconds = z.int().nonnegative().max(600_000);

/** Only exchanges whose request is like this are struck; the others pass. Raw bytes are struck only without it. */
const Only = z.strictObject({ method: z.string().optional(), targetHas: z.array(z.string()).optional() });
export type Only = z.infer<typeof Only>;

export const FaultRule = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("pass") }),
  /** Every connection is reset, and each new one as soon as it is there. */
  z.strictObject({ kind: z.literal("refuse") }),
  /** Both ends are reset once so many bytes of an answer's body have passed: a number, or a share of the whole. */
  z.strictObject({
    kind: z.literal("cut"),
    after: z.union([
      z.strictObject({ bytes: z.int().nonnegative() }),
      z.strictObject({ share: z.number().min(0).max(1) }),
    ]),
    only: Only.optional(),
  }),
  /** Silence while the connection stays open; with `lasting`, that connection stays silent for good. */
  z.strictObject({ kind: z.literal("stall"), lasting: z.boolean().default(false), only: Only.optional() }),
  /** Each connection and direction for itself. */
  z.strictObject({ kind: z.literal("throttle"), bytesPerSecond: z.int().min(1) }),
  z.strictObject({
    kind: z.literal("answer"),
    answer: z.enum(["503", "slow-down", "rate-limit"]),
    retryAfterSeconds: z.int().nonnegative().optional(),
    only: Only.optional(),
  }),
  /** The answer's first byte comes so much later. */
  z.strictObject({ kind: z.literal("slow-first-byte"), delayMs: Milliseconds, only: Only.optional() }),
]);
export type FaultRule = z.infer<typeof FaultRule>;

export const pass: FaultRule = { kind: "pass" };

/**
 * Whether an answer names an upload that has just been created. When it is lost nobody knows of the upload, and only a
 * listing finds it, which the local S3 does not have: the sweep for strays is tried against a scripted one instead.
 */
function namesNewUpload(request: Head): boolean {
  return methodOf(request) === "POST" && /[?&]uploads(=|&|$)/.test(targetOf(request));
}

/** @param request that the exchange began with; null where nothing of HTTP was seen */
export function concerns(rule: FaultRule, request: Head | null): boolean {
  const loses = rule.kind === "cut" || (rule.kind === "stall" && rule.lasting);
  if (loses && request !== null && namesNewUpload(request)) return false;
  const only = "only" in rule ? rule.only : undefined;
  if (only === undefined) return true;
  if (request === null) return false;
  const { method, targetHas } = only;
  return (
    (method === undefined || methodOf(request) === method) &&
    (targetHas === undefined || targetHas.every((word) => targetOf(request).includes(word)))
  );
}

/** The whole message that the proxy answers with by itself. The connection ends with it. */
export function answerBytes(rule: Extract<FaultRule, { kind: "answer" }>): Buffer {
  const { status, contentType, body } = answers[rule.answer];
  const retryAfter = rule.retryAfterSeconds === undefined ? "" : `retry-after: ${rule.retryAfterSeconds}\r\n`;
  return Buffer.from(
    `HTTP/1.1 ${status}\r\ncontent-type: ${contentType}\r\ncontent-length: ${Buffer.byteLength(body)}\r\n` +
      `${retryAfter}connection: close\r\n\r\n${body}`,
  );
}

/** @returns how many of `count` bytes still pass, when `at` of the body have passed before; null: all, no cut here */
export function passBeforeCut(
  after: Extract<FaultRule, { kind: "cut" }>["after"],
  body: { at: number; count: number; wholeBytes: number | null },
): number | null {
  // Of a body of unknown length there is no share: it is cut at its first byte.
  const limit = "bytes" in after ? after.bytes : Math.floor(after.share * (body.wholeBytes ?? 0));
  if (body.wholeBytes !== null && limit >= body.wholeBytes) return null;
  return body.at + body.count > limit ? Math.max(0, limit - body.at) : null;
}

const beatMs = 50;

/** Splits bytes for a throttled connection: one piece per beat. */
export function throttled(bytes: Buffer, bytesPerSecond: number): { pieces: Buffer[]; beatMs: number } {
  const perBeat = Math.max(1, Math.floor((bytesPerSecond * beatMs) / 1_000));
  const pieces: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += perBeat) pieces.push(bytes.subarray(at, at + perBeat));
  return { pieces, beatMs };
}
