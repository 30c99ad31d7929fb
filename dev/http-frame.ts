/**
 * Finds where the messages of an HTTP/1.1 connection begin and how long their bodies are, while every byte passes through
 * unchanged. Pure: bytes in, pieces out. What it cannot read (an upgrade, nonsense) is raw from there on.
 */

export type Head = {
  /** `GET /path HTTP/1.1` or `HTTP/1.1 200 OK`. */
  startLine: string;
  /** By lower-case name; of a repeated header the last. */
  headers: ReadonlyMap<string, string>;
  /** Of the body that follows; null: unknown until it ends. */
  bodyBytes: number | null;
};

export type Piece =
  | { kind: "head"; bytes: Buffer; head: Head }
  /** `at`: how many bytes of this body came before. Framing of chunked bodies counts as body. */
  | { kind: "body"; bytes: Buffer; at: number }
  | { kind: "raw"; bytes: Buffer };

type State = "head" | "length" | "chunk-size" | "chunk" | "trailer" | "until-close" | "raw";

const headEnd = "\r\n\r\n";
const longestHeadBytes = 256 * 1024;

export function methodOf(head: Head): string {
  return head.startLine.split(" ")[0] ?? "";
}

export function targetOf(head: Head): string {
  return head.startLine.split(" ")[1] ?? "";
}

export function statusOf(head: Head): number {
  return Number(head.startLine.split(" ")[1] ?? 0);
}

function parseHead(bytes: Buffer): Omit<Head, "bodyBytes"> {
  const [startLine = "", ...lines] = bytes.toString("latin1").trimEnd().split("\r\n");
  const headers = new Map<string, string>();
  for (const line of lines) {
    const colon = line.indexOf(":");
    if (colon > 0) headers.set(line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim());
  }
  return { startLine, headers };
}

/** Which of the two directions is read decides how a body without a length ends. */
export type FrameReader = { push(chunk: Buffer): Piece[] };

export function readRequests(): FrameReader {
  return frameReader((head) => {
    if (head.headers.has("upgrade")) return "raw";
    return bodyOf(head.headers) ?? 0;
  });
}

/** @param methodAsked of the request that the next answer belongs to: a HEAD's answer has a length and no body */
export function readResponses(methodAsked: () => string): FrameReader {
  return frameReader((head) => {
    const status = Number(head.startLine.split(" ")[1]);
    if (status === 101) return "raw";
    if (status < 200 || status === 204 || status === 304 || methodAsked() === "HEAD") return 0;
    return bodyOf(head.headers) ?? "until-close";
  });
}

type BodyEnd = number | "chunked" | "until-close" | "raw";

const stateOfBody = {
  chunked: "chunk-size",
  "until-close": "until-close",
  raw: "raw",
} as const satisfies Record<Exclude<BodyEnd, number>, State>;

function bodyOf(headers: ReadonlyMap<string, string>): number | "chunked" | null {
  if (headers.get("transfer-encoding")?.toLowerCase().includes("chunked")) return "chunked";
  const length = headers.get("content-length");
  return length === undefined || !/^\d+$/.test(length) ? null : Number(length);
}

function frameReader(bodyAfter: (head: Omit<Head, "bodyBytes">) => BodyEnd): FrameReader {
  let state: State = "head";
  let held: Buffer = Buffer.alloc(0);
  let left = 0;
  let at = 0;

  function begin(body: BodyEnd): number | null {
    at = 0;
    left = typeof body === "number" ? body : 0;
    if (typeof body === "number") state = body === 0 ? "head" : "length";
    else state = stateOfBody[body];
    return typeof body === "number" ? body : null;
  }

  /** @returns the next piece, or null when more bytes are needed to tell */
  function next(): Piece | null {
    if (held.length === 0) return null;
    switch (state) {
      case "head":
        return nextHead();
      case "length":
      case "chunk": {
        const bytes = take(Math.min(left, held.length));
        left -= bytes.length;
        if (left === 0) state = state === "length" ? "head" : "chunk-size";
        return body(bytes);
      }
      case "chunk-size":
      case "trailer":
        return nextLine();
      case "until-close":
        return body(take(held.length));
      case "raw":
        return { kind: "raw", bytes: take(held.length) };
    }
  }

  function nextHead(): Piece | null {
    const end = held.indexOf(headEnd);
    if (end < 0) {
      if (held.length <= longestHeadBytes) return null;
      state = "raw";
      return { kind: "raw", bytes: take(held.length) };
    }
    const bytes = take(end + headEnd.length);
    const parsed = parseHead(bytes);
    return { kind: "head", bytes, head: { ...parsed, bodyBytes: begin(bodyAfter(parsed)) } };
  }

  /** A chunk's size, or a line after the last chunk; an empty one ends the message. */
  function nextLine(): Piece | null {
    const end = held.indexOf("\r\n");
    if (end < 0) return null;
    const bytes = take(end + 2);
    if (state === "trailer") {
      if (bytes.length === 2) state = "head";
    } else {
      const size = Number.parseInt(bytes.toString("latin1"), 16);
      if (Number.isNaN(size)) state = "raw";
      else if (size === 0) state = "trailer";
      else {
        state = "chunk";
        left = size + 2;
      }
    }
    return body(bytes);
  }

  function take(count: number): Buffer {
    const bytes = held.subarray(0, count);
    held = held.subarray(count);
    return bytes;
  }

  function body(bytes: Buffer): Piece {
    const piece: Piece = { kind: "body", bytes, at };
    at += bytes.length;
    return piece;
  }

  return {
    push(chunk) {
      held = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
      const pieces: Piece[] = [];
      for (let piece = next(); piece !== null; piece = next()) pieces.push(piece);
      return pieces;
    },
  };
}
