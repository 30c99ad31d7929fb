/** A unix socket that ffmpeg writes one rendition's stream into, so that nothing is ever written to a disk. */

import { once } from "node:events";
import { rm } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import { dropMemory } from "../dropped-memory.ts";

export type OutputSocket = {
  /** For ffmpeg's command line. */
  target: string;
  /**
   * The stream; ends when ffmpeg closes it, for whatever reason. Not read, it holds ffmpeg back. A chunk's memory is gone
   * once the next one is asked for.
   */
  chunks: () => AsyncGenerator<Uint8Array, void, undefined>;
  receivedBytes: () => number;
  /** ffmpeg has ended: a stream that it never opened ends too. */
  expectNoMore: () => void;
  /** Breaks the stream off, if it has not ended. */
  close: () => Promise<void>;
};

const CONNECTION_GRACE_MS = 1000;

export async function openOutputSocket(path: string): Promise<OutputSocket> {
  const server = createServer();
  const arrival = Promise.withResolvers<Socket | null>();
  let receivedBytes = 0;
  let lastWait: NodeJS.Timeout | undefined;
  let closed: Promise<void> | undefined;
  server.once("connection", (socket) => {
    arrival.resolve(socket);
    server.close();
  });
  server.listen(path);
  await once(server, "listening");

  return {
    target: `unix:${path}`,
    chunks: async function* () {
      const socket = await arrival.promise;
      if (!socket) return;
      for await (const chunk of socket as AsyncIterable<Uint8Array>) {
        receivedBytes += chunk.length;
        yield chunk;
        dropMemory(chunk);
      }
    },
    receivedBytes: () => receivedBytes,
    expectNoMore: () => {
      // A connection that ffmpeg made just before its end may still be waiting to be noticed.
      lastWait ??= setTimeout(() => arrival.resolve(null), CONNECTION_GRACE_MS);
    },
    // Once only: by a second time the path may be the next run's socket.
    close: () => {
      closed ??= close();
      return closed;
    },
  };

  async function close(): Promise<void> {
    clearTimeout(lastWait);
    arrival.resolve(null);
    server.close();
    (await arrival.promise)?.destroy();
    await rm(path, { force: true });
  }
}
