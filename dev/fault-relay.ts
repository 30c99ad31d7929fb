/** One connection through a fault proxy: two streams of bytes, read as HTTP where they are, under the link's present rule. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { answerBytes, concerns, type FaultRule, passBeforeCut, throttled } from "./fault-rule.ts";
import { type Head, methodOf, type Piece, readRequests, readResponses, statusOf } from "./http-frame.ts";

/** What a connection needs to know of its link. */
export type Weather = {
  rule(): FaultRule;
  /** Resolves when the rule is replaced. */
  changed(): Promise<void>;
  strike(): void;
};

type Answering = {
  /** The request that is being answered; null while raw bytes pass. */
  request: Head | null;
  wholeBytes: number | null;
  rawBytes: number;
};

/** How long a client that was answered by the proxy itself may still send its body. */
const drainMs = 5_000;
const forever = 2 ** 31 - 1;

/** 100 Continue and its like: the answer itself is still to come. */
function isInterim(head: Head): boolean {
  return statusOf(head) < 200 && statusOf(head) !== 101;
}

export class Relay {
  readonly #client: Socket;
  readonly #upstream: Socket;
  readonly #weather: Weather;
  readonly #ended = new AbortController();
  /** Requests whose answers have not begun, oldest first. */
  readonly #asked: Head[] = [];
  #silent = false;
  #answered = false;

  constructor(client: Socket, targetPort: number, weather: Weather) {
    this.#client = client;
    this.#upstream = connect({ port: targetPort, host: "127.0.0.1", allowHalfOpen: true, noDelay: true });
    this.#weather = weather;
    for (const socket of [this.#client, this.#upstream]) {
      socket.on("error", () => undefined);
      socket.once("close", (hadError) => {
        if (hadError) this.reset();
      });
    }
  }

  /** Resolves when both ends are closed, however that came. */
  async run(): Promise<void> {
    const broken = () => {
      // Breaks by design where the proxy has answered by itself.
      if (!this.#answered) this.reset();
    };
    await Promise.all([this.#carryRequests().catch(() => this.reset()), this.#carryAnswers().catch(broken)]);
    this.#client.destroySoon();
    this.#upstream.destroySoon();
    this.#ended.abort();
  }

  /** As a broken line looks to both ends. */
  reset(): void {
    this.#ended.abort();
    for (const socket of [this.#client, this.#upstream]) if (!socket.destroyed) socket.resetAndDestroy();
  }

  async #carryRequests(): Promise<void> {
    const reader = readRequests();
    let request: Head | null = null;
    for await (const chunk of this.#client.iterator({ destroyOnReturn: false })) {
      for (const piece of reader.push(chunk)) {
        if (piece.kind === "head") {
          request = piece.head;
          const rule = this.#weather.rule();
          if (rule.kind === "answer" && concerns(rule, request)) return await this.#answer(rule);
          this.#asked.push(request);
        }
        await this.#forward(this.#upstream, piece.bytes, piece.kind === "raw" ? null : request);
      }
    }
    this.#upstream.end();
  }

  async #carryAnswers(): Promise<void> {
    const reader = readResponses(() => (this.#asked[0] === undefined ? "" : methodOf(this.#asked[0])));
    const answering: Answering = { request: null, wholeBytes: null, rawBytes: 0 };
    for await (const chunk of this.#upstream.iterator({ destroyOnReturn: false })) {
      for (const piece of reader.push(chunk)) {
        if (piece.kind === "head") await this.#beginAnswer(piece.head, answering);
        if (!(await this.#answerPiece(piece, answering))) return this.reset();
      }
    }
    this.#client.end();
  }

  async #beginAnswer(head: Head, answering: Answering): Promise<void> {
    if (isInterim(head)) return;
    answering.request = this.#asked.shift() ?? null;
    answering.wholeBytes = head.bodyBytes;
    const rule = this.#weather.rule();
    if (rule.kind !== "slow-first-byte" || !concerns(rule, answering.request)) return;
    this.#weather.strike();
    await this.#pause(rule.delayMs);
  }

  /** @returns false when the line is cut here */
  async #answerPiece(piece: Piece, answering: Answering): Promise<boolean> {
    if (piece.kind === "raw") answering.request = null;
    const passing = this.#passBeforeCut(piece, answering);
    if (piece.kind === "raw") answering.rawBytes += piece.bytes.length;
    const bytes = passing === null ? piece.bytes : piece.bytes.subarray(0, passing);
    await this.#forward(this.#client, bytes, answering.request);
    if (passing !== null) this.#weather.strike();
    return passing === null;
  }

  #passBeforeCut(piece: Piece, { request, rawBytes, wholeBytes }: Answering): number | null {
    const rule = this.#weather.rule();
    if (rule.kind !== "cut" || !concerns(rule, request)) return null;
    const count = piece.bytes.length;
    switch (piece.kind) {
      case "head":
        // An answer without a body is cut within its head.
        return piece.head.bodyBytes === 0 && !isInterim(piece.head)
          ? passBeforeCut(rule.after, { at: 0, count, wholeBytes: count })
          : null;
      case "body":
        return passBeforeCut(rule.after, { at: piece.at, count, wholeBytes });
      case "raw":
        return passBeforeCut(rule.after, { at: rawBytes, count, wholeBytes: null });
    }
  }

  async #answer(rule: Extract<FaultRule, { kind: "answer" }>): Promise<void> {
    this.#weather.strike();
    this.#answered = true;
    this.#upstream.destroy();
    this.#client.end(answerBytes(rule));
    // A client that is still sending would take a reset for the answer.
    this.#client.resume();
    const signal = AbortSignal.timeout(drainMs);
    if (!this.#client.closed) await once(this.#client, "close", { signal }).catch(() => undefined);
    this.reset();
  }

  async #forward(to: Socket, bytes: Buffer, request: Head | null): Promise<void> {
    await this.#sitOutStall(request);
    // A silent line takes everything, so that it notices its end, and gives nothing.
    if (this.#silent) return;
    const rule = this.#weather.rule();
    if (rule.kind !== "throttle") return await this.#send(to, bytes);
    this.#weather.strike();
    const { pieces, beatMs } = throttled(bytes, rule.bytesPerSecond);
    for (const piece of pieces) {
      if (this.#weather.rule() === rule) await this.#pause(beatMs);
      await this.#send(to, piece);
    }
  }

  async #sitOutStall(request: Head | null): Promise<void> {
    for (;;) {
      const rule = this.#weather.rule();
      if (this.#silent || rule.kind !== "stall" || !concerns(rule, request)) return;
      this.#weather.strike();
      if (rule.lasting) this.#silent = true;
      else await this.#pause(forever);
    }
  }

  /** Until the time has passed or the rule has changed. @throws when the connection is over */
  async #pause(ms: number): Promise<void> {
    const over = new AbortController();
    const signal = AbortSignal.any([this.#ended.signal, over.signal]);
    const timer = sleep(ms, undefined, { signal }).catch(() => undefined);
    await Promise.race([timer, this.#weather.changed()]);
    over.abort();
    this.#ended.signal.throwIfAborted();
  }

  async #send(to: Socket, bytes: Buffer): Promise<void> {
    if (bytes.length === 0) return;
    this.#ended.signal.throwIfAborted();
    if (!to.write(bytes)) await once(to, "drain", { signal: this.#ended.signal });
  }
}
