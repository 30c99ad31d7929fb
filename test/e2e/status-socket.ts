/** Follows an asset, or many, over a status WebSocket, and connects again when the socket drops. */
import { setTimeout as sleep } from "node:timers/promises";
import WebSocket from "ws";
import { framesOf, type SingleFrame } from "./asset-document.ts";

export interface StatusSocket {
  frames: readonly SingleFrame[];
  /** Resolves with the first frame, past or to come, that `wanted` takes. */
  until(wanted: (frame: SingleFrame) => boolean, timeoutMs: number): Promise<SingleFrame>;
  close(): void;
}

export function openStatusSocket(url: string, headers: Record<string, string>): StatusSocket {
  const frames: SingleFrame[] = [];
  const listeners = new Set<() => void>();
  let fault: Error | null = null;
  let closed = false;
  let socket: WebSocket | null = null;

  const tellAll = () => {
    for (const listener of listeners) listener();
  };

  function connect(): void {
    if (closed) return;
    const current = new WebSocket(url, { headers, handshakeTimeout: 10_000 });
    socket = current;
    current.on("message", (text) => {
      try {
        frames.push(...framesOf(String(text)));
      } catch (error) {
        fault = error as Error;
      }
      tellAll();
    });
    // A worker that is being restarted refuses: the close event follows.
    current.on("error", () => undefined);
    current.on("close", () => void sleep(250).then(connect));
  }
  connect();

  return {
    frames,
    async until(wanted, timeoutMs) {
      const found = Promise.withResolvers<SingleFrame>();
      let next = 0;
      const look = () => {
        if (fault !== null) found.reject(fault);
        for (; next < frames.length; next++) {
          const frame = frames[next];
          if (frame !== undefined && wanted(frame)) found.resolve(frame);
        }
      };
      listeners.add(look);
      look();
      const timer = setTimeout(() => {
        found.reject(new Error(`No such frame within ${timeoutMs / 1_000} s; ${frames.length} others came`));
      }, timeoutMs);
      try {
        return await found.promise;
      } finally {
        clearTimeout(timer);
        listeners.delete(look);
      }
    },
    close() {
      closed = true;
      socket?.close();
    },
  };
}
