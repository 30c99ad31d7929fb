/**
 * What decoding and scaling on the card came to, by kind of source. What works stays so until a job shows otherwise; what
 * does not is tried again after a while, as drivers are mended and cards recover.
 */
const REFUSAL_LASTS_MS = 30 * 60_000;

export class GpuProofMemory {
  private readonly proofs = new Map<string, { proof: string; sinceMs: number }>();
  private readonly nowMs: () => number;

  /** @param nowMs monotonic */
  constructor(nowMs: () => number) {
    this.nowMs = nowMs;
  }

  /** "works", or why not; null: to be found out. */
  recall(kind: string): string | null {
    const known = this.proofs.get(kind);
    if (known === undefined) return null;
    const expired = known.proof !== "works" && this.nowMs() - known.sinceMs >= REFUSAL_LASTS_MS;
    return expired ? null : known.proof;
  }

  remember(kind: string, proof: string): void {
    this.proofs.set(kind, { proof, sinceMs: this.nowMs() });
  }

  entries(): [kind: string, proof: string][] {
    return [...this.proofs].map(([kind, { proof }]) => [kind, proof]);
  }
}
