/** One WebSocket to the API, from open to close: frames in and out, and pings that notice when it is half-open. */
import type { Logger } from "pino";
import WebSocket from "ws";
import { ObjectFrame, type RunnerFrame } from "../../schemas/runner-protocol.ts";

export type ConnectionOptions = {
  /** http(s); the scheme is changed here. */
  url: string;
  token: string;
  log: Logger;
  handshakeTimeoutMs: number;
  /** A socket that stays silent for this long after a ping is given up. */
  pingMs: number;
};

export type Connection = {
  /** Dropped when the socket is not open; whoever needs an answer notices its absence. */
  send(frame: RunnerFrame): void;
  isOpen(): boolean;
  /** Resolves with the close code, and never rejects. */
  readonly closed: Promise<number>;
  /** Says goodbye, and cuts the line a second later. */
  close(): void;
  terminate(): void;
};

/** No socket, or no answer to the claim: nothing was settled. `status`: what the server answered to the upgrade. */
export class Unreachable extends Error {
  override name = "Unreachable";
  readonly status: number | null;

  constructor(message: string, status: number | null = null) {
    super(message);
    this.status = status;
  }
}

const maxPayloadBytes = 1024 * 1024;
const goodbyeMs = 1_000;

/** Rejects with Unreachable. Frames that cannot be read are logged and ignored. */
export function openConnection(
  options: ConnectionOptions,
  onFrame: (frame: ObjectFrame) => void,
  signal: AbortSignal,
): Promise<Connection> {
  const { log } = options;
  const socket = new WebSocket(options.url.replace(/^http/, "ws"), {
    headers: { authorization: `Bearer ${options.token}` },
    handshakeTimeout: options.handshakeTimeoutMs,
    maxPayload: maxPayloadBytes,
    perMessageDeflate: false,
    followRedirects: false,
  });
  const giveUp = () => socket.terminate();
  if (signal.aborted) giveUp();
  signal.addEventListener("abort", giveUp, { once: true });

  return new Promise((resolve, reject) => {
    socket.once("unexpected-response", (request, response) => {
      reject(new Unreachable(`the API answered ${response.statusCode} to the upgrade`, response.statusCode ?? null));
      response.resume();
      request.destroy();
    });
    // Stays attached: an error without a listener would end the process.
    socket.on("error", (error) => reject(new Unreachable(error.message)));
    socket.once("close", (code) => reject(new Unreachable(`the socket closed with ${code}`)));
    socket.once("open", () => {
      signal.removeEventListener("abort", giveUp);
      socket.on("message", (data, isBinary) => {
        const frame = isBinary ? null : readFrame(data.toString(), log);
        if (frame !== null) onFrame(frame);
      });
      const watch = watchLiveness(socket, options.pingMs, log);
      const closed = new Promise<number>((done) => {
        socket.once("close", (code) => {
          clearInterval(watch);
          done(code);
        });
      });
      resolve({
        closed,
        isOpen: () => socket.readyState === WebSocket.OPEN,
        send: (frame) => {
          if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(frame), () => undefined);
        },
        terminate: () => socket.terminate(),
        close: () => {
          socket.close(1000);
          const cut = setTimeout(() => socket.terminate(), goodbyeMs);
          socket.once("close", () => clearTimeout(cut));
        },
      });
    });
  });
}

/** A half-open socket looks open for many minutes. */
function watchLiveness(socket: WebSocket, pingMs: number, log: Logger): NodeJS.Timeout {
  let heard = true;
  const hear = () => {
    heard = true;
  };
  socket.on("pong", hear);
  socket.on("message", hear);
  return setInterval(() => {
    if (socket.readyState !== WebSocket.OPEN) return;
    if (!heard) {
      log.warn("the job socket is half-open: no answer to a ping");
      socket.terminate();
      return;
    }
    heard = false;
    socket.ping();
  }, pingMs);
}

function readFrame(text: string, log: Logger): ObjectFrame | null {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    log.warn("a frame that is not JSON was ignored");
    return null;
  }
  const parsed = ObjectFrame.safeParse(json);
  if (parsed.success) return parsed.data;
  log.warn({ issues: parsed.error.issues.slice(0, 3) }, "a frame that cannot be read was ignored");
  return null;
}
