/**
 * One kept connection that asks for ranges and counts the answers' bytes in memory that it uses again. `node:http` makes new
 * memory for every 64 KiB that arrive: whoever measures with it measures its garbage collector, a pause of 5 to 15 ms each
 * 100 ms.
 */
import { connect } from "node:net";

export interface RangeConnection {
  /** One at a time. @throws for any answer but exactly these bytes */
  read(from: number, to: number): Promise<void>;
  /** A server ends a connection on which nobody has asked for a while. */
  isOpen(): boolean;
  close(): void;
}

const answerTimeoutMs = 60_000;
const largestHeadBytes = 16 * 1024;

interface Reading {
  range: string;
  wantedBytes: number;
  /** Until the head is whole; then null. */
  head: string | null;
  bodyBytes: number;
  settle(error: Error | null): void;
}

export function openRangeConnection(address: string): RangeConnection {
  const url = new URL(address);
  let reading: Reading | null = null;
  const take = (bytes: Buffer) => {
    if (reading === null) return socket.destroy(new Error("bytes came that nobody asked for"));
    const fault = takeBytes(reading, bytes);
    if (fault !== null) return socket.destroy(fault);
    if (reading.head === null && reading.bodyBytes === reading.wantedBytes) reading.settle(null);
  };
  const socket = connect({
    host: url.hostname,
    port: Number(url.port),
    noDelay: true,
    onread: {
      buffer: Buffer.allocUnsafe(256 * 1024),
      callback: (count, memory) => {
        take(Buffer.from(memory.buffer, memory.byteOffset, count));
        return true;
      },
    },
  });
  socket.setTimeout(answerTimeoutMs, () => socket.destroy(new Error("no answer in time")));
  let broken: Error | null = null;
  const breakOff = (error: Error) => {
    broken ??= error;
    reading?.settle(broken);
  };
  socket.on("error", breakOff);
  socket.on("close", () => breakOff(new Error("the connection was closed")));

  return {
    async read(from, to) {
      if (broken !== null) throw broken;
      const range = `bytes=${from}-${to}`;
      socket.write(`GET ${url.pathname}${url.search} HTTP/1.1\r\nHost: ${url.host}\r\nRange: ${range}\r\n\r\n`);
      await new Promise<void>((resolve, reject) => {
        const settle = (error: Error | null) => {
          reading = null;
          if (error === null) resolve();
          else reject(error);
        };
        reading = { range, wantedBytes: to - from + 1, head: "", bodyBytes: 0, settle };
      });
    },
    isOpen: () => broken === null,
    close: () => socket.destroy(),
  };
}

/** @returns what is wrong with the answer */
function takeBytes(reading: Reading, bytes: Buffer): Error | null {
  let body = bytes;
  if (reading.head !== null) {
    const before = reading.head.length;
    const text = reading.head + bytes.subarray(0, largestHeadBytes).toString("latin1");
    const end = text.indexOf("\r\n\r\n");
    reading.head = end < 0 ? text : null;
    if (end < 0) return text.length < largestHeadBytes ? null : new Error("the answer's head is too long");
    const [, status = "none"] = /^HTTP\/1\.1 (\d{3})/.exec(text) ?? [];
    const [, lengthBytes = "none"] = /\r\ncontent-length: *(\d+)\r\n/i.exec(text.slice(0, end + 2)) ?? [];
    if (status !== "206" || lengthBytes !== String(reading.wantedBytes)) {
      return new Error(`${reading.range} was answered ${status} with ${lengthBytes} bytes`);
    }
    body = bytes.subarray(end + 4 - before);
  }
  reading.bodyBytes += body.length;
  return reading.bodyBytes <= reading.wantedBytes ? null : new Error("the answer is longer than it says");
}
