/**
 * The Pull object: all runners that wait for a job wait here, and one loop looks at the queues for all of them, so that
 * what is asked of the queues' API does not grow with the runners. It keeps nothing: what it has pulled and not handed
 * out when it ends is visible again when its lease is over.
 */
import { DurableObject } from "cloudflare:workers";
import { z } from "zod";
import { longOutageMs } from "../schemas/failure-policy.ts";
import { type PulledMessage, PulledQueue } from "../schemas/runner-protocol.ts";
import { log } from "../workers/log.ts";
import { type Env, readConfig } from "../workers/stores/config.ts";
import { within } from "../workers/stores/deadline.ts";
import { clearAlert, raiseAlert } from "../workers/stores/incident.ts";
import {
  ackMessage,
  type LeasedMessage,
  mostMessagesAtOnce,
  pullMessages,
  readTranscode,
  retryMessage,
  type TranscodeRead,
} from "../workers/stores/queue-pull.ts";
import { StoreFailure } from "../workers/stores/store-failure.ts";
import { assetDoor } from "./asset-door.ts";
import { feedDoor } from "./feed-door.ts";
import type { PullDoor, PullRefusal } from "./pull-door.ts";
import { PullWaiter } from "./pull-waiter.ts";

/** Pauses between two looks: doubling while nothing is found. docs/gpu-runner.md counts what they cost. */
const shortestPauseMs = 500;
const longestPauseMs = 2_000;
/** After a look that failed, doubling. */
const troublePauseMs = { first: 1_000, longest: 30_000 };
const unreadableRetrySeconds = 60;
const confirmRetrySeconds = 10;
const confirmTimeoutMs = 10_000;

const alertCause = "transcode-queues";

type ReadMessage = NonNullable<TranscodeRead["message"]>;

const Ask = z.object({ waitMs: z.coerce.number().int().nonnegative(), rushOnly: z.stringbool() });

const doubled = (firstMs: number, times: number, longestMs: number) =>
  Math.min(longestMs, firstMs * 2 ** Math.min(times, 20));

export class PullObject extends DurableObject<Env> implements PullDoor {
  /** Who came first is served first. */
  readonly #waiters = new Set<PullWaiter>();
  #isLooking = false;
  #lastLookMs = 0;
  /** Looks in a row that found nothing. */
  #empty = 0;
  #trouble: { refusal: string; sinceMs: number; untilMs: number; inARow: number } | null = null;
  /** null: not known since this object started. */
  #hasAlert: boolean | null = null;
  #wake: () => void = () => undefined;

  override async fetch(request: Request): Promise<Response> {
    const ask = Ask.parse(Object.fromEntries(new URL(request.url).searchParams));
    const nowMs = Date.now();
    const waiter = new PullWaiter(nowMs, ask);
    if (this.#trouble !== null && nowMs < this.#trouble.untilMs) {
      await waiter.refuse({ detail: this.#trouble.refusal, retryAfterMs: this.#trouble.untilMs - nowMs });
      return waiter.response;
    }
    this.#waiters.add(waiter);
    if (waiter.isHasty) this.#wake();
    if (!this.#isLooking) this.ctx.waitUntil(this.#lookWhileWaitedFor());
    return waiter.response;
  }

  async look(): Promise<{ waiting: number; trouble: string | null }> {
    return { waiting: this.#present().length, trouble: this.#trouble?.refusal ?? null };
  }

  async #lookWhileWaitedFor(): Promise<void> {
    this.#isLooking = true;
    try {
      while (this.#present().length > 0) {
        await this.#untilDue();
        await this.#look();
      }
    } finally {
      this.#isLooking = false;
    }
  }

  #present(): PullWaiter[] {
    for (const waiter of this.#waiters) if (waiter.hasLeft) this.#waiters.delete(waiter);
    return [...this.#waiters];
  }

  #takersOf(queue: PulledQueue): PullWaiter[] {
    return this.#present().filter((waiter) => waiter.takes(queue));
  }

  async #untilDue(): Promise<void> {
    for (;;) {
      const isHasty = [...this.#waiters].some((waiter) => waiter.isHasty);
      const pauseMs = isHasty ? shortestPauseMs : doubled(shortestPauseMs, this.#empty, longestPauseMs);
      const leftMs = this.#lastLookMs + pauseMs - Date.now();
      if (leftMs <= 0) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        setTimeout(resolve, leftMs);
      });
    }
  }

  /** A queue that cannot be asked holds up no other; whether all are empty is not known then. */
  async #look(): Promise<void> {
    this.#lastLookMs = Date.now();
    // Who comes while it is under way may get a message, but no other answer yet.
    const askers = this.#present();
    let found = 0;
    let failure: StoreFailure | null = null;
    for (const queue of PulledQueue.options) {
      const takers = this.#takersOf(queue).length;
      if (takers === 0) continue;
      try {
        const messages = await pullMessages(this.#config(), queue, Math.min(takers, mostMessagesAtOnce));
        found += messages.length;
        // All are asked about at once: their leases run meanwhile.
        const checked = await Promise.all(messages.map((message) => this.#check(queue, message)));
        for (const each of checked) if (each !== null) await this.#handOut(each);
      } catch (thrown) {
        failure = thrown instanceof StoreFailure ? thrown : new StoreFailure("INTERNAL", String(thrown));
        log({ event: "pull.failed", queue, inARow: (this.#trouble?.inARow ?? 0) + 1 }, thrown);
      }
    }
    this.#empty = found > 0 ? 0 : this.#empty + 1;
    const left = askers.filter((waiter) => this.#waiters.has(waiter));
    if (failure === null) await this.#goOn(left);
    else await this.#rest(failure, left);
  }

  #config() {
    return readConfig(this.env).pull;
  }

  async #goOn(left: readonly PullWaiter[]): Promise<void> {
    this.#trouble = null;
    const nowMs = Date.now();
    for (const waiter of left) {
      if (nowMs < waiter.untilMs) waiter.keepWaiting(nowMs);
      else if (this.#waiters.delete(waiter)) await waiter.give({ pulled: null });
    }
    if (this.#hasAlert !== false) await this.#settleAlert(null);
  }

  async #rest(failure: StoreFailure, left: readonly PullWaiter[]): Promise<void> {
    const inARow = this.#trouble?.inARow ?? 0;
    const pauseMs = doubled(troublePauseMs.first, inARow, troublePauseMs.longest);
    const retryAfterMs = Math.max(pauseMs, failure.retryAfterMs ?? 0);
    const refusal: PullRefusal = { detail: failure.message, retryAfterMs };
    const nowMs = Date.now();
    const sinceMs = this.#trouble?.sinceMs ?? nowMs;
    this.#trouble = { refusal: failure.message, sinceMs, untilMs: nowMs + retryAfterMs, inARow: inARow + 1 };
    for (const waiter of left) {
      this.#waiters.delete(waiter);
      await waiter.refuse(refusal);
    }
    const needsSomebody = !failure.retryable || nowMs - sinceMs >= longOutageMs;
    if (needsSomebody && this.#hasAlert !== true) await this.#settleAlert(failure.message);
  }

  /** @param message null: its cause is no more */
  async #settleAlert(message: string | null): Promise<void> {
    const at = new Date().toISOString();
    try {
      if (message === null) {
        await clearAlert(this.env.CATALOGUE, alertCause, at);
      } else {
        const alert = { code: "UNAVAILABLE", message, fileId: null } as const;
        const isNew = await raiseAlert(this.env.CATALOGUE, { cause: alertCause, ...alert }, at);
        const frame = { type: "alert", severity: "warning", id: alertCause, ...alert } as const;
        if (isNew) await feedDoor(this.env.FEED, "*").publish(null, null, frame);
      }
      this.#hasAlert = message !== null;
    } catch (fault) {
      // Comes again with the next look.
      log({ event: "timer.job-failed", job: alertCause }, fault);
    }
  }

  /** Whether its asset sent it: any other names a job that nobody offers. @returns null when the asset does not answer */
  async #isConfirmed(message: ReadMessage): Promise<boolean | null> {
    const { fileId } = message;
    const late = () => new Error("the asset's object did not answer in time");
    return within(assetDoor(this.env.ASSET, fileId).confirm(message), confirmTimeoutMs, late).catch(
      (fault: unknown) => {
        log({ event: "pull.confirm-failed", fileId }, fault);
        return null;
      },
    );
  }

  /** Settles what goes to no runner. @returns null for that */
  async #check(queue: PulledQueue, { leaseId, attempts, body }: LeasedMessage): Promise<PulledMessage | null> {
    const read = readTranscode(body);
    if (read.message === null) {
      log({ event: "pull.unreadable", queue, attempts, problem: read.problem });
      await this.#giveBack(queue, leaseId, unreadableRetrySeconds);
      return null;
    }
    const { message } = read;
    const isConfirmed = await this.#isConfirmed(message);
    if (isConfirmed === true) return { queue, leaseId, attempts, message };
    if (isConfirmed === null) await this.#giveBack(queue, leaseId, confirmRetrySeconds);
    else await this.#drop(queue, leaseId, message);
    return null;
  }

  /** A message that stays after all comes again when its lease is over. */
  async #drop(queue: PulledQueue, leaseId: string, { type, fileId }: ReadMessage): Promise<void> {
    log({ event: "command.unconfirmed", queue, messageId: null, type, commandId: null, fileId });
    await ackMessage(this.#config(), queue, leaseId).catch((fault: unknown) => {
      log({ event: "pull.not-dropped", queue }, fault);
    });
  }

  async #handOut(pulled: PulledMessage): Promise<void> {
    for (const waiter of this.#takersOf(pulled.queue)) {
      this.#waiters.delete(waiter);
      if (await waiter.give({ pulled })) return;
    }
    await this.#giveBack(pulled.queue, pulled.leaseId, 0);
  }

  async #giveBack(queue: PulledQueue, leaseId: string, delaySeconds: number): Promise<void> {
    await retryMessage(this.#config(), queue, leaseId, delaySeconds).catch((fault: unknown) => {
      log({ event: "pull.not-given-back", queue }, fault);
    });
  }
}
