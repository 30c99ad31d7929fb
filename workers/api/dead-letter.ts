/**
 * The operator's doors to dead letters: shown, sent again or put aside, one by one or by the page. An admin of some
 * clients reaches the letters about their files; what names no file of a known client is for unscoped tokens.
 */
import { z } from "zod";
import { assetDoor } from "../../durable-objects/asset-door.ts";
import { Command } from "../../schemas/command.ts";
import {
  cursorAfter,
  DeadLetterBatch,
  DeadLetterBatchAnswer,
  DeadLetterPage,
  DeadLetterQuery,
  DeadLetterView,
  type Resolution,
} from "../../schemas/dead-letter.ts";
import { Refusal } from "../problem.ts";
import type { Env } from "../stores/config.ts";
import {
  countDeadLetters,
  type DeadLetter,
  findDeadLetter,
  listDeadLetters,
  resolveDeadLetter,
} from "../stores/incident.ts";
import { reply, route } from "./route.ts";

const PAGE_LENGTH = 200;
/** Each letter is a message and a transaction: a call stays within what a request may ask of others. */
const BATCH_LENGTH = 50;

const access = { by: "token", roles: ["admin"] } as const;
const params = z.strictObject({ id: z.string().min(1).max(200) });
const path = "/v1/admin/dead-letters";

const viewOf = ({ body: _, ...letter }: DeadLetter): DeadLetterView => letter;

export const deadLetters = route({
  method: "GET",
  path,
  summary: "Commands that no consumer could carry out, oldest first. Bodies are not told: they may hold signed URLs.",
  access,
  query: DeadLetterQuery,
  answers: { 200: DeadLetterPage },
  async handle({ env, caller }, { query: { cursor: after, ...filter } }) {
    const wanted = { ...filter, after, clients: caller.clients, limit: PAGE_LENGTH };
    const letters = await listDeadLetters(env.CATALOGUE, wanted);
    const last = letters.length === PAGE_LENGTH ? letters.at(-1) : undefined;
    return reply(200, { deadLetters: letters.map(viewOf), cursor: last === undefined ? null : cursorAfter(last) });
  },
});

interface Settlement {
  resolution: Resolution;
  at: string;
  sub: string;
}

/**
 * Sent first, marked then: a call that ends between the two leaves the letter open, and a command that runs twice is
 * harmless. The same again changes nothing.
 * @throws Refusal BAD_MESSAGE, CONFLICT
 */
async function settle(env: Env, letter: DeadLetter, by: Settlement): Promise<DeadLetter> {
  if (letter.resolution === null && by.resolution === "replayed") await resend(env, letter);
  const settled = letter.resolution === null ? await resolveDeadLetter(env.CATALOGUE, letter.id, by) : letter;
  if (settled === null) throw noSuchLetter();
  if (settled.resolution !== by.resolution) {
    const { resolution, resolvedBy, resolvedAt } = settled;
    throw new Refusal("CONFLICT", `The letter was ${resolution} by ${resolvedBy} at ${resolvedAt}.`);
  }
  return settled;
}

/** A letter is no authority either: its asset sends the command again, if it sent it before. */
async function resend(env: Env, { body, queue }: DeadLetter): Promise<void> {
  const message = jsonOrNull(body);
  // Read again: a newer deployment may read what the one before could not.
  const command = Command.safeParse(message).data;
  const refuse = (why: string) => new Refusal("BAD_MESSAGE", `${why}: it can be discarded, not replayed.`);
  if (command === undefined) throw refuse(`This message of ${queue} is not a command`);
  const isSent = await assetDoor(env.ASSET, command.fileId).resend(message);
  if (!isSent) throw refuse(`The asset ${command.fileId} does not know this message of ${queue} for its own`);
}

function jsonOrNull(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

const noSuchLetter = () => new Refusal("NOT_FOUND", "There is no such dead letter.");

function settleOne(verb: "replay" | "discard", resolution: Resolution, summary: string) {
  return route({
    method: "POST",
    path: `${path}/{id}/${verb}`,
    summary,
    access,
    params,
    answers: { 200: DeadLetterView },
    async handle({ env, caller, nowMs }, { params: { id } }) {
      const letter = await findDeadLetter(env.CATALOGUE, id, caller.clients);
      if (letter === null) throw noSuchLetter();
      const by = { resolution, at: new Date(nowMs).toISOString(), sub: caller.sub };
      return reply(200, viewOf(await settle(env, letter, by)));
    },
  });
}

function settleMany(verb: "replay" | "discard", resolution: Resolution, summary: string) {
  return route({
    method: "POST",
    path: `${path}/${verb}`,
    summary,
    access,
    body: DeadLetterBatch,
    answers: { 200: DeadLetterBatchAnswer },
    async handle({ env, caller, nowMs }, { body: { cursor: after, ...filter } }) {
      const wanted = { ...filter, clients: caller.clients };
      const letters = await listDeadLetters(env.CATALOGUE, { ...wanted, after, limit: BATCH_LENGTH });
      const by = { resolution, at: new Date(nowMs).toISOString(), sub: caller.sub };
      const refused: DeadLetterBatchAnswer["refused"] = [];
      for (const letter of letters) {
        try {
          await settle(env, letter, by);
        } catch (fault) {
          // Anything else ends the call: what it settled is marked, and the next one goes on from there.
          if (!(fault instanceof Refusal)) throw fault;
          refused.push({ id: letter.id, code: fault.code, detail: fault.message });
        }
      }
      const last = letters.at(-1);
      const left = last === undefined ? 0 : await countDeadLetters(env.CATALOGUE, { ...wanted, after: last });
      const cursor = last === undefined || left === 0 ? null : cursorAfter(last);
      return reply(200, { resolved: letters.length - refused.length, refused, left, cursor });
    },
  });
}

const more = `At most ${BATCH_LENGTH} a call, oldest first; pass the cursor on until it is null.`;

export const replayDeadLetter = settleOne("replay", "replayed", "Has a dead letter's command sent again by its asset.");
export const discardDeadLetter = settleOne("discard", "discarded", "Puts a dead letter aside.");
export const replayDeadLetters = settleMany(
  "replay",
  "replayed",
  `Has the commands of open dead letters sent again by their assets. ${more}`,
);
export const discardDeadLetters = settleMany("discard", "discarded", `Puts open dead letters aside. ${more}`);
