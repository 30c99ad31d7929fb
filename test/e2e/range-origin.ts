/** An origin on loopback that answers ranges of a file which exists nowhere: the same mebibyte again and again. */
import { createHash } from "node:crypto";
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";

const mebibyte = 1024 * 1024;
const block = Buffer.alloc(mebibyte, "camera original ");

export class RangeOrigin {
  readonly sizeBytes: number;
  /** Of file content, whoever read it and whether or not it arrived. */
  servedBytes = 0;
  readonly #server: Server;
  readonly #pauseMs: number;

  private constructor(sizeBytes: number, pauseMs: number) {
    this.sizeBytes = sizeBytes;
    this.#pauseMs = pauseMs;
    this.#server = createServer((request, response) => void this.#serve(request.headers.range, response));
  }

  /** @param pauseMs between two mebibytes of an answer */
  static async start(sizeBytes: number, pauseMs = 0): Promise<RangeOrigin> {
    const origin = new RangeOrigin(sizeBytes, pauseMs);
    await new Promise<void>((resolve) => origin.#server.listen(0, "127.0.0.1", resolve));
    return origin;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/large.mov`;
  }

  sha256(): string {
    const hash = createHash("sha256");
    for (const piece of blocks(0, this.sizeBytes - 1)) hash.update(piece);
    return hash.digest("hex");
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  async #serve(range: string | undefined, response: ServerResponse): Promise<void> {
    const [, first = "0", last = ""] = /^bytes=(\d+)-(\d*)$/.exec(range ?? "") ?? [];
    const from = Number(first);
    const to = last === "" ? this.sizeBytes - 1 : Math.min(Number(last), this.sizeBytes - 1);
    response.writeHead(range === undefined ? 200 : 206, {
      etag: '"still-the-same"',
      "accept-ranges": "bytes",
      "content-length": to - from + 1,
      ...(range === undefined ? {} : { "content-range": `bytes ${from}-${to}/${this.sizeBytes}` }),
    });
    // A reader that goes away half-way is no fault of the server.
    await pipeline(Readable.from(this.#paced(from, to)), response).catch(() => undefined);
  }

  async *#paced(from: number, to: number): AsyncGenerator<Buffer> {
    for (const piece of blocks(from, to)) {
      if (this.#pauseMs > 0) await sleep(this.#pauseMs);
      this.servedBytes += piece.length;
      yield piece;
    }
  }
}

function* blocks(from: number, to: number): Generator<Buffer> {
  for (let at = from; at <= to; ) {
    const offset = at % block.length;
    const piece = block.subarray(offset, Math.min(block.length, offset + to - at + 1));
    at += piece.length;
    yield piece;
  }
}
