/** A TCP proxy that lets every connection receive only so much a second, as a store with a limit per connection does. */
import { connect, createServer, type Socket } from "node:net";

export interface ThrottleProxy {
  port: number;
  close(): Promise<void>;
}

/** What a connection may save up while it is idle. */
const burstMs = 20;

/** Port 0: any free one. What clients send is not limited. */
export async function startThrottleProxy(options: {
  port: number;
  targetPort: number;
  bytesPerSecond: number;
}): Promise<ThrottleProxy> {
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const target = connect(options.targetPort, "127.0.0.1");
    for (const [socket, other] of [
      [client, target],
      [target, client],
    ] as const) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on("error", () => other.destroy());
      socket.on("close", () => {
        sockets.delete(socket);
        other.destroy();
      });
    }
    client.pipe(target);
    passSlowly(target, client, options.bytesPerSecond / 1_000);
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(options.port, "127.0.0.1", resolve);
  });
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : options.port,
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

function passSlowly(from: Socket, to: Socket, bytesPerMs: number): void {
  /** When all that was passed so far is paid for. */
  let paidAtMs = 0;
  from.on("data", (chunk) => {
    const nowMs = performance.now();
    to.write(chunk);
    paidAtMs = Math.max(paidAtMs, nowMs - burstMs) + chunk.length / bytesPerMs;
    if (paidAtMs <= nowMs && !to.writableNeedDrain) return;
    from.pause();
    const resume = () => {
      if (to.writableNeedDrain) to.once("drain", () => from.resume());
      else from.resume();
    };
    setTimeout(resume, Math.max(0, paidAtMs - nowMs));
  });
  from.on("end", () => to.end());
}
