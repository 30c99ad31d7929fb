/**
 * The log file of a child: the child itself writes to it, so that no reader's death can block or break it, and what
 * others want to see of it is read back from the file.
 */
import { closeSync, existsSync, fstatSync, openSync, readSync, renameSync, statSync } from "node:fs";

const maxBytes = 20 * 1024 * 1024;
const chunkBytes = 64 * 1024;
const pollMs = 200;

/** @returns a descriptor for the child, and where its own lines begin */
export function openLogFile(path: string): { fd: number; offset: number } {
  if (existsSync(path) && statSync(path).size > maxBytes) renameSync(path, `${path}.1`);
  const fd = openSync(path, "a", 0o600);
  return { fd, offset: fstatSync(fd).size };
}

function readFrom(path: string, offset: number, limitBytes: number): Buffer {
  const fd = openSync(path, "r");
  try {
    const buffer = Buffer.alloc(limitBytes);
    return buffer.subarray(0, readSync(fd, buffer, 0, limitBytes, offset));
  } finally {
    closeSync(fd);
  }
}

/** The last lines written since the offset; none when the file is gone. */
export function lastLines(path: string, offset: number, count: number): string[] {
  try {
    const from = Math.max(offset, statSync(path).size - chunkBytes);
    const lines = readFrom(path, from, chunkBytes).toString("utf8").split("\n");
    return lines.filter((line) => line.trim() !== "").slice(-count);
  } catch {
    return [];
  }
}

/** Calls back with every whole line written from the offset on. @returns a function that says the rest and ends it */
export function followLog(path: string, offset: number, onLine: (line: string) => void): () => void {
  let position = offset;
  let rest = Buffer.alloc(0);
  const poll = () => {
    for (;;) {
      let chunk: Buffer;
      try {
        chunk = readFrom(path, position, chunkBytes);
      } catch {
        return;
      }
      if (chunk.length === 0) return;
      position += chunk.length;
      const text = Buffer.concat([rest, chunk]);
      const end = text.lastIndexOf(0x0a) + 1;
      rest = Buffer.from(text.subarray(end));
      for (const line of text.subarray(0, end).toString("utf8").split("\n").slice(0, -1)) onLine(line);
    }
  };
  const timer = setInterval(poll, pollMs);
  timer.unref();
  return () => {
    clearInterval(timer);
    poll();
  };
}
