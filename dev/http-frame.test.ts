/** Whatever the cuts between the chunks, the pieces are the bytes, and messages begin where they begin. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { type FrameReader, methodOf, type Piece, readRequests, readResponses, statusOf } from "./http-frame.ts";

const text = (pieces: readonly Piece[]) => Buffer.concat(pieces.map(({ bytes }) => bytes)).toString("latin1");
const heads = (pieces: readonly Piece[]) => pieces.flatMap((piece) => (piece.kind === "head" ? [piece.head] : []));

/** Feeds a text in pieces of the given sizes, again and again from the first. */
function feed(reader: FrameReader, whole: string, sizes: readonly number[]): Piece[] {
  const bytes = Buffer.from(whole, "latin1");
  const pieces: Piece[] = [];
  for (let at = 0, n = 0; at < bytes.length; n++) {
    const size = sizes[n % sizes.length] ?? 1;
    pieces.push(...reader.push(bytes.subarray(at, at + size)));
    at += size;
  }
  return pieces;
}

const requests =
  "PUT /a?partNumber=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nGET /GET /b HTTP/1.1\r\nHost: x\r\n\r\n" +
  "POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nHEAD /d HTTP/1.1\r\n\r\n";

const chunkSizes = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 8 });

test("requests in a row are told apart, whatever their bodies hold", () => {
  fc.assert(
    fc.property(chunkSizes, (sizes) => {
      const pieces = feed(readRequests(), requests, sizes);
      expect(text(pieces)).toBe(requests);
      expect(heads(pieces).map(methodOf)).toEqual(["PUT", "GET", "POST", "HEAD"]);
      expect(heads(pieces).map(({ bodyBytes }) => bodyBytes)).toEqual([5, 0, null, 0]);
    }),
  );
});

test("answers follow the request they belong to: a HEAD's has a length and no body", () => {
  const answers =
    "HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" +
    "HTTP/1.1 206 Partial\r\ncontent-length: 4\r\n\r\nabcdHTTP/1.1 204 No\r\n\r\nHTTP/1.1 200 OK\r\n\r\nuntil it ends";
  const asked = ["HEAD", "PUT", "GET", "GET", "GET"];
  fc.assert(
    fc.property(chunkSizes, (sizes) => {
      let n = 0;
      const pieces = feed(
        readResponses(() => asked[n++] ?? ""),
        answers,
        sizes,
      );
      expect(text(pieces)).toBe(answers);
      expect(heads(pieces).map(statusOf)).toEqual([200, 100, 206, 204, 200]);
    }),
  );
});

test("a body's pieces say where in the body they are", () => {
  fc.assert(
    fc.property(chunkSizes, (sizes) => {
      const reader = readResponses(() => "GET");
      const pieces = feed(reader, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789", sizes);
      let before = 0;
      for (const piece of pieces) {
        if (piece.kind !== "body") continue;
        expect(piece.at).toBe(before);
        before += piece.bytes.length;
      }
      expect(before).toBe(10);
    }),
  );
});

test("after an upgrade everything is raw, also what looks like a request", () => {
  const upgraded = "GET /socket HTTP/1.1\r\nUpgrade: websocket\r\n\r\nGET / HTTP/1.1\r\n\r\n";
  const pieces = readRequests().push(Buffer.from(upgraded));
  expect(pieces.map(({ kind }) => kind)).toEqual(["head", "raw"]);
});

test("nonsense passes through", () => {
  const noise = Buffer.alloc(400_000, "x");
  const pieces = readRequests().push(noise);
  expect(pieces).toEqual([{ kind: "raw", bytes: noise }]);
});
