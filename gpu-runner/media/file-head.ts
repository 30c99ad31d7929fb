/** What a file that cannot be read as media is, by its first bytes: words that tell its owner what to do. Pure. */
import type { ProbeRejectionCode } from "../../schemas/media-probe.ts";

export const HEAD_BYTES = 512;

export type HeadVerdict = { code: ProbeRejectionCode; message: string };

const verdict = (code: ProbeRejectionCode, message: string): HeadVerdict => ({ code, message });

const STILL = verdict("STILL_IMAGE", "The file is a still image; there is no video to make renditions of.");
const CANON = verdict(
  "UNSUPPORTED_CODEC",
  "The file is Canon raw (CR3 or CRM), which cannot be decoded here; export it.",
);
const RED = verdict(
  "UNSUPPORTED_CODEC",
  "The video is RED raw (R3D), which cannot be decoded here; export it as ProRes.",
);
const ARCHIVE = verdict("INVALID_MEDIA", "The file is an archive (such as ZIP); upload the video that is in it.");
const DOCUMENT = verdict("INVALID_MEDIA", "The file is a document, not media, whatever its name says.");
const TEXT = verdict("INVALID_MEDIA", "The file is text, not media, whatever its name says.");
const EMPTY = verdict("INVALID_MEDIA", "The file is empty: it has no bytes at all.");
const ZEROS = verdict(
  "INVALID_MEDIA",
  "The file begins with nothing but zeros: the upload or the copy never wrote it.",
);

/** At which byte, what stands there (Latin-1), and what it then is. */
const SIGNATURES: readonly (readonly [atByte: number, beginnings: readonly string[], verdict: HeadVerdict])[] = [
  [4, ["ftypheic", "ftypheix", "ftypheim", "ftypheis", "ftypmif1", "ftypavif"], STILL],
  [4, ["ftypcrx "], CANON],
  [4, ["RED1", "RED2"], RED],
  [0, ["\xff\xd8\xff", "\x89PNG", "II*\0", "MM\0*", "8BPS"], STILL],
  [0, ["PK\x03\x04", "PK\x05\x06", "Rar!", "7z\xbc\xaf", "\x1f\x8b"], ARCHIVE],
  [257, ["ustar"], ARCHIVE],
  [0, ["%PDF", "\xd0\xcf\x11\xe0"], DOCUMENT],
];

/** null: nothing that is known. */
export function recogniseHead(head: Uint8Array): HeadVerdict | null {
  if (head.length === 0) return EMPTY;
  const text = Array.from(head, (byte) => String.fromCharCode(byte)).join("");
  const known = SIGNATURES.find(([atByte, beginnings]) => beginnings.some((each) => text.startsWith(each, atByte)));
  if (known) return known[2];
  if (head.every((byte) => byte === 0)) return ZEROS;
  return isText(head) ? TEXT : null;
}

const TEXT_CONTROLS = new Set([9, 10, 12, 13, 27]);

function isText(head: Uint8Array): boolean {
  if (head.some((byte) => byte < 32 && !TEXT_CONTROLS.has(byte))) return false;
  try {
    // Streamed: a character may be cut in two at the end.
    new TextDecoder("utf-8", { fatal: true }).decode(head, { stream: true });
    return true;
  } catch {
    return false;
  }
}
