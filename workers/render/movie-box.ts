/** Boxes of an ISO media file (MP4, MOV) in memory: walked, never copied. What contradicts its own sizes is refused. */
import { unreadable } from "./whole-reason.ts";

export interface Box {
  type: string;
  /** The box's content, without its header. */
  body: DataView;
}

const MOST_CHILDREN = 10_000;

export function typeAt(view: DataView, at: number): string {
  return String.fromCharCode(view.getUint8(at), view.getUint8(at + 1), view.getUint8(at + 2), view.getUint8(at + 3));
}

/** Length of a box's header and of the whole box, as its first bytes tell; null: it reaches to the end of the file. */
export function sizeAt(view: DataView, at: number): { headerBytes: number; boxBytes: number | null } {
  const short = view.getUint32(at);
  if (short === 0) return { headerBytes: 8, boxBytes: null };
  if (short !== 1) return { headerBytes: 8, boxBytes: short };
  if (view.byteLength < at + 16) throw unreadable("a box header is cut off");
  return { headerBytes: 16, boxBytes: Number(view.getBigUint64(at + 8)) };
}

export function childrenOf(body: DataView): Box[] {
  const boxes: Box[] = [];
  let at = 0;
  // QuickTime ends some lists with four zero bytes.
  while (body.byteLength - at >= 8) {
    const { headerBytes, boxBytes } = sizeAt(body, at);
    const length = boxBytes ?? body.byteLength - at;
    if (length < headerBytes || length > body.byteLength - at) throw unreadable("a box is longer than what holds it");
    boxes.push({
      type: typeAt(body, at + 4),
      body: new DataView(body.buffer, body.byteOffset + at + headerBytes, length - headerBytes),
    });
    if (boxes.length > MOST_CHILDREN) throw unreadable("a box has too many children");
    at += length;
  }
  return boxes;
}

export const firstOf = (boxes: readonly Box[], type: string): DataView | null =>
  boxes.find((box) => box.type === type)?.body ?? null;

export function required(boxes: readonly Box[], type: string): DataView {
  const body = firstOf(boxes, type);
  if (body === null) throw unreadable(`there is no ${type} box`);
  return body;
}

/** The rows of a full box's table, checked to lie inside it. */
export function rowsOf(body: DataView, countAt: number, rowBytes: number): { count: number; at: number } {
  if (body.byteLength < countAt + 4) throw unreadable("a table is cut off");
  const count = body.getUint32(countAt);
  const at = countAt + 4;
  if (count * rowBytes > body.byteLength - at) throw unreadable("a table is longer than its box");
  return { count, at };
}
