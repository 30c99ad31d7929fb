/**
 * SHA-256 that can be put down between two messages and taken up again by another consumer: no platform's digest gives
 * its state away. Only for the digest of a whole file that was announced; everything else is hashed by the platform.
 * FIPS 180-4.
 */
import { hexOf } from "./part-digest.ts";

const blockBytes = 64;

/** The fractional parts of the roots of the first primes, as the standard derives its constants. */
function primes(count: number): number[] {
  const found: number[] = [];
  for (let n = 2; found.length < count; n++) if (found.every((prime) => n % prime !== 0)) found.push(n);
  return found;
}

/** Exact: the first 32 bits after the point of an integer root, by whole numbers only. */
function rootBits(n: number, degree: 2 | 3): number {
  const shift = BigInt(32 * degree);
  const scaled = BigInt(n) << shift;
  let low = 0n;
  let high = 1n << 40n;
  while (high - low > 1n) {
    const middle = (low + high) >> 1n;
    if (middle ** BigInt(degree) <= scaled) low = middle;
    else high = middle;
  }
  return Number(low & 0xffffffffn) | 0;
}

const k = Int32Array.from(primes(64), (prime) => rootBits(prime, 3));
const initial = Int32Array.from(primes(8), (prime) => rootBits(prime, 2));

function hexOfWords(words: Int32Array): string {
  const bytes = new DataView(new ArrayBuffer(4 * words.length));
  for (const [index, word] of words.entries()) bytes.setInt32(4 * index, word);
  return hexOf(bytes.buffer);
}

/** Before the first byte. */
export const emptyMidstate = hexOfWords(initial);

export class MidstateSha256 {
  readonly #state: Int32Array;
  readonly #schedule = new Int32Array(64);
  readonly #pending = new Uint8Array(blockBytes);
  readonly #view = new DataView(this.#pending.buffer);
  #pendingBytes = 0;
  #totalBytes: number;

  /** @param hashedBytes how many bytes the midstate stands for, in whole blocks */
  constructor(midstate: string = emptyMidstate, hashedBytes = 0) {
    if (!/^[0-9a-f]{64}$/.test(midstate)) throw new Error("a midstate has 64 hex digits");
    if (hashedBytes % blockBytes !== 0) throw new Error("a midstate stands for whole blocks");
    this.#state = Int32Array.from({ length: 8 }, (_, i) => Number.parseInt(midstate.slice(8 * i, 8 * i + 8), 16) | 0);
    this.#totalBytes = hashedBytes;
  }

  update(bytes: Uint8Array): void {
    this.#totalBytes += bytes.length;
    let offset = 0;
    if (this.#pendingBytes > 0) offset = this.#fill(bytes);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (; offset + blockBytes <= bytes.length; offset += blockBytes) this.#compress(view, offset);
    if (offset < bytes.length) this.#fill(bytes.subarray(offset));
  }

  /** @returns how many bytes the pending block took */
  #fill(bytes: Uint8Array): number {
    const taken = Math.min(blockBytes - this.#pendingBytes, bytes.length);
    this.#pending.set(bytes.subarray(0, taken), this.#pendingBytes);
    this.#pendingBytes += taken;
    if (this.#pendingBytes === blockBytes) {
      this.#compress(this.#view, 0);
      this.#pendingBytes = 0;
    }
    return taken;
  }

  /** @throws between blocks only: a midstate holds no half of one */
  midstate(): string {
    if (this.#pendingBytes !== 0) throw new Error("a midstate stands for whole blocks");
    return hexOfWords(this.#state);
  }

  /** Ends it. @returns the digest in hex */
  digest(): string {
    const totalBits = BigInt(this.#totalBytes) * 8n;
    const padding = new Uint8Array(((119 - (this.#totalBytes % blockBytes)) % blockBytes) + 9);
    padding[0] = 0x80;
    new DataView(padding.buffer).setBigUint64(padding.length - 8, totalBits);
    this.update(padding);
    return hexOfWords(this.#state);
  }

  #compress(view: DataView, offset: number): void {
    const w = this.#schedule;
    for (let i = 0; i < 16; i++) w[i] = view.getInt32(offset + 4 * i);
    for (let i = 16; i < 64; i++) {
      const a = at(w, i - 15);
      const b = at(w, i - 2);
      const s0 = rotated(a, 7) ^ rotated(a, 18) ^ (a >>> 3);
      const s1 = rotated(b, 17) ^ rotated(b, 19) ^ (b >>> 10);
      w[i] = (at(w, i - 16) + s0 + at(w, i - 7) + s1) | 0;
    }
    this.#rounds(w);
  }

  #rounds(w: Int32Array): void {
    const state = this.#state;
    let a = at(state, 0);
    let b = at(state, 1);
    let c = at(state, 2);
    let d = at(state, 3);
    let e = at(state, 4);
    let f = at(state, 5);
    let g = at(state, 6);
    let h = at(state, 7);
    for (let i = 0; i < 64; i++) {
      const s1 = rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25);
      const choice = (e & f) ^ (~e & g);
      const t1 = (h + s1 + choice + at(k, i) + at(w, i)) | 0;
      const s0 = rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22);
      const majority = (a & b) ^ (a & c) ^ (b & c);
      h = g;
      g = f;
      f = e;
      e = (d + t1) | 0;
      d = c;
      c = b;
      b = a;
      a = (t1 + s0 + majority) | 0;
    }
    state[0] = at(state, 0) + a;
    state[1] = at(state, 1) + b;
    state[2] = at(state, 2) + c;
    state[3] = at(state, 3) + d;
    state[4] = at(state, 4) + e;
    state[5] = at(state, 5) + f;
    state[6] = at(state, 6) + g;
    state[7] = at(state, 7) + h;
  }
}

const at = (words: Int32Array, index: number) => words[index] as number;
const rotated = (word: number, bits: number) => (word >>> bits) | (word << (32 - bits));
