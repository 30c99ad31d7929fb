/**
 * A job's lease over WebSockets: claims it, keeps it alive by heartbeats, and resumes it on a new socket whenever one
 * drops, for as long as it lives. Frames without an answer are sent again, under the same seq. `lost` is aborted, with
 * a LeaseLost or a TokenRefused, the moment the lease or the right to speak of it is gone.
 */
import type { Logger } from "pino";
import { tokenEndedCode } from "../../schemas/revoked-token.ts";
import type { ObjectFrame, RunnerFrame } from "../../schemas/runner-protocol.ts";
import { type Backoff, backoffDelayMs, pause } from "./backoff.ts";
import { LeaseLost, TokenRefused } from "./job-failure.ts";
import { type Connection, openConnection, Unreachable } from "./socket-connection.ts";

type Sent<Type extends RunnerFrame["type"]> = Extract<RunnerFrame, { type: Type }>;
type Unaddressed<Frame> = Frame extends unknown ? Omit<Frame, "seq" | "lease"> : never;
/** A frame without what is added here. */
export type LeaseFrame = Unaddressed<Sent<"probed" | "uploaded" | "failed" | "release">>;
export type ProgressFrame = Unaddressed<Sent<"progress">>;
export type Grant = Extract<ObjectFrame, { type: "granted" }>;
export type Refusal = Extract<ObjectFrame, { type: "refused" }>;

export type JobSocketOptions = {
  url: string;
  token: string;
  log: Logger;
  handshakeTimeoutMs: number;
  /** A claim unanswered for this long settles nothing; any other frame is sent again on a new socket. */
  answerTimeoutMs: number;
  pingMs: number;
  backoff: Backoff;
  random: () => number;
  /** Monotonic. */
  nowMs: () => number;
};

export type JobSocket = {
  /** Throws Unreachable, or the signal's reason. */
  claim(claim: Omit<Sent<"claim">, "type" | "seq">, signal: AbortSignal): Promise<Grant | Refusal>;
  /** Resolves with the object's answer, over as many sockets as it takes; rejects with what `lost` says. */
  request(frame: LeaseFrame): Promise<ObjectFrame>;
  /** Sent if it can be, else dropped: the next one says more. */
  tell(frame: ProgressFrame): void;
  /** What the lease has read of its source so far: told with every sign of life, so that a runner that dies has said it. */
  noteRead(sourceBytes: number): void;
  readonly lost: AbortSignal;
  /** Since the object last acknowledged a sign of life; 0 while there is no lease. */
  sinceRenewalMs(): number;
  /** Ends everything at once; requests under way reject. */
  close(): void;
};

type Asked = { frame: RunnerFrame; resolve: (answer: ObjectFrame) => void; reject: (error: unknown) => void };
type Lease = { token: string; leaseMs: number; renewedAtMs: number };

const claimConnectAttempts = 3;
const tickMs = 1_000;

export function createJobSocket(options: JobSocketOptions): JobSocket {
  return new LeaseSession(options);
}

class LeaseSession implements JobSocket {
  private readonly options: JobSocketOptions;
  private readonly loss = new AbortController();
  /** Ends waits and timers; aborted by close(). */
  private readonly ended = new AbortController();
  private readonly asked = new Map<number, Asked>();
  /** When frames that want an answer left on the present socket. */
  private readonly sentAtMs = new Map<number, number>();
  private connection: Connection | null = null;
  /** False from a drop until the resume is answered: nothing else may be sent then. */
  private established = false;
  private lease: Lease | null = null;
  private sourceBytes = 0;
  private seq = 0;

  constructor(options: JobSocketOptions) {
    this.options = options;
  }

  get lost(): AbortSignal {
    return this.loss.signal;
  }

  sinceRenewalMs(): number {
    return this.lease === null ? 0 : Math.max(0, this.options.nowMs() - this.lease.renewedAtMs);
  }

  async claim(claim: Omit<Sent<"claim">, "type" | "seq">, signal: AbortSignal): Promise<Grant | Refusal> {
    const abort = () => this.close(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    try {
      signal.throwIfAborted();
      const connection = await this.connectForClaim();
      const claimedAtMs = this.options.nowMs();
      const answer = await this.exchange(connection, { type: "claim", seq: this.seq++, ...claim });
      // A cancel may have come in the same packet as the grant.
      this.ended.signal.throwIfAborted();
      if (answer.type === "granted") this.hold(connection, answer, claimedAtMs);
      else if (answer.type === "refused") this.close();
      else throw new Unreachable(`the claim was answered with ${answer.type}`);
      return answer;
    } catch (error) {
      this.close();
      throw signal.aborted ? signal.reason : error;
    } finally {
      signal.removeEventListener("abort", abort);
    }
  }

  request(frame: LeaseFrame): Promise<ObjectFrame> {
    const { lease } = this;
    if (lease === null) return Promise.reject(new Error("nothing can be said before the claim is granted"));
    const addressed: RunnerFrame = { ...frame, seq: this.seq++, lease: lease.token };
    const answer = this.ask(addressed);
    if (this.established) this.send(addressed);
    return answer;
  }

  tell(frame: ProgressFrame): void {
    if (this.lease === null || !this.established) return;
    this.connection?.send({ ...frame, seq: this.seq++, lease: this.lease.token });
  }

  noteRead(sourceBytes: number): void {
    this.sourceBytes = sourceBytes;
  }

  close(reason: unknown = new LeaseLost("unknown", "The job's socket is closed.")): void {
    if (this.ended.signal.aborted) return;
    this.ended.abort(reason);
    this.established = false;
    for (const { reject } of this.asked.values()) reject(reason);
    this.asked.clear();
    this.connection?.close();
    this.connection = null;
  }

  private lose(loss: LeaseLost | TokenRefused): void {
    if (this.ended.signal.aborted) return;
    this.loss.abort(loss);
    this.close(loss);
  }

  private async connect(): Promise<Connection> {
    const connection = await openConnection(this.options, (frame) => this.receive(frame), this.ended.signal);
    if (this.ended.signal.aborted) {
      connection.terminate();
      throw this.ended.signal.reason;
    }
    this.sentAtMs.clear();
    this.connection = connection;
    return connection;
  }

  private async connectForClaim(): Promise<Connection> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.connect();
      } catch (error) {
        const refused = error instanceof Unreachable && error.status !== null && error.status < 500;
        if (refused || attempt === claimConnectAttempts) throw error;
        await this.backOff(attempt);
      }
    }
  }

  private backOff(attempt: number): Promise<void> {
    return pause(backoffDelayMs(attempt, this.options.backoff, this.options.random), this.ended.signal);
  }

  private ask(frame: RunnerFrame): Promise<ObjectFrame> {
    return new Promise((resolve, reject) => {
      if (this.ended.signal.aborted) reject(this.ended.signal.reason);
      else this.asked.set(frame.seq, { frame, resolve, reject });
    });
  }

  private send(frame: RunnerFrame): void {
    this.sentAtMs.set(frame.seq, this.options.nowMs());
    this.connection?.send(frame);
  }

  /** One frame that opens a socket's talk, and its answer; Unreachable when the socket ends or stays silent first. */
  private async exchange(connection: Connection, frame: RunnerFrame): Promise<ObjectFrame> {
    const answer = this.ask(frame);
    this.send(frame);
    const waiting = new AbortController();
    try {
      return await Promise.race([
        answer,
        connection.closed.then((code) => {
          const status = code === tokenEndedCode ? 401 : null;
          throw new Unreachable(`the socket closed with ${code} before the ${frame.type} was answered`, status);
        }),
        pause(this.options.answerTimeoutMs, waiting.signal).then(() => {
          throw new Unreachable(`no answer to the ${frame.type}`);
        }),
      ]);
    } finally {
      waiting.abort();
      this.asked.delete(frame.seq);
      this.sentAtMs.delete(frame.seq);
    }
  }

  private hold(connection: Connection, { lease, leaseMs }: Grant, claimedAtMs: number): void {
    const held: Lease = { token: lease, leaseMs, renewedAtMs: claimedAtMs };
    this.lease = held;
    this.established = true;
    const heartbeat = setInterval(() => this.heartbeat(held), Math.max(1, Math.floor(leaseMs / 3)));
    const watch = setInterval(() => this.watch(held), Math.min(tickMs, Math.ceil(leaseMs / 10)));
    this.ended.signal.addEventListener("abort", () => {
      clearInterval(heartbeat);
      clearInterval(watch);
    });
    this.keepConnected(connection, held).catch((error: unknown) => {
      if (!this.ended.signal.aborted) this.lose(new LeaseLost("unknown", String(error)));
    });
  }

  private heartbeat({ token }: Lease): void {
    const { sourceBytes } = this;
    if (this.established) this.send({ type: "heartbeat", seq: this.seq++, lease: token, sourceBytes });
  }

  private watch(lease: Lease): void {
    const now = this.options.nowMs();
    if (now - lease.renewedAtMs > lease.leaseMs) {
      this.lose(new LeaseLost("expired", "The API did not answer for as long as the lease lives."));
      return;
    }
    const overdue = [...this.sentAtMs.values()].some((at) => now - at > this.options.answerTimeoutMs);
    if (!overdue || !this.established) return;
    this.options.log.warn("a frame stays unanswered: opening a new job socket");
    this.sentAtMs.clear();
    this.connection?.terminate();
  }

  private async keepConnected(first: Connection, lease: Lease): Promise<void> {
    let connection = first;
    for (;;) {
      const code = await connection.closed;
      if (this.ended.signal.aborted) return;
      if (code === tokenEndedCode)
        return this.lose(new TokenRefused("The API closed the job's socket: the token ended."));
      this.established = false;
      this.options.log.warn({ code }, "job socket dropped");
      connection = await this.resume(lease);
    }
  }

  /** Until it succeeds, or the lease is over. */
  private async resume(lease: Lease): Promise<Connection> {
    for (let attempt = 1; ; attempt++) {
      await this.backOff(attempt);
      let connection: Connection | null = null;
      try {
        connection = await this.connect();
        const { sourceBytes } = this;
        const resume = { type: "resume", seq: this.seq++, lease: lease.token, sourceBytes } as const;
        const answer = await this.exchange(connection, resume);
        if (answer.type === "refused") this.judgeRefusedResume(answer);
        this.ended.signal.throwIfAborted();
      } catch (error) {
        connection?.terminate();
        if (error instanceof Unreachable && error.status === 401) this.lose(new TokenRefused(error.message));
        this.ended.signal.throwIfAborted();
        this.options.log.info({ attempt, reason: String(error) }, "job socket not resumed yet");
        continue;
      }
      this.established = true;
      this.options.log.info({ again: this.asked.size }, "job socket resumed");
      // A Map keeps the order of asking, so the frames go out as they did.
      for (const { frame } of this.asked.values()) this.send(frame);
      return connection;
    }
  }

  /**
   * The last rendition ends the lease. If its answer was lost with the socket, the object refuses the resume but still
   * knows the rendition when it is reported again: that answer decides.
   */
  private judgeRefusedResume({ reason, message }: Refusal): void {
    const reporting = [...this.asked.values()].some(({ frame }) => frame.type === "uploaded");
    if (!reporting) this.lose(new LeaseLost(reason, message));
  }

  private receive(frame: ObjectFrame): void {
    if (frame.type === "cancel") {
      this.lose(new LeaseLost(frame.reason, frame.message));
      return;
    }
    const judgedElsewhere = this.asked.get(frame.seq)?.frame.type === "resume";
    if (frame.type === "refused" && this.lease !== null && !judgedElsewhere) {
      this.lose(new LeaseLost(frame.reason, frame.message));
      return;
    }
    const sentAtMs = this.sentAtMs.get(frame.seq);
    this.sentAtMs.delete(frame.seq);
    // Counted from when the frame left: never later than the object itself has it.
    if (this.lease !== null && sentAtMs !== undefined) {
      this.lease.renewedAtMs = Math.max(this.lease.renewedAtMs, sentAtMs);
    }
    const asked = this.asked.get(frame.seq);
    this.asked.delete(frame.seq);
    asked?.resolve(frame);
  }
}
