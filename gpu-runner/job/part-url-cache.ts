/** Presigned part URLs, asked for a few numbers ahead and never used close to their end. */
import type { Quality } from "../../schemas/ladder.ts";
import type { PartGrant } from "../../schemas/runner-protocol.ts";
import { JobFailure } from "./job-failure.ts";

type CachedUrl = { url: string; expiresAtMs: number };
type GrantParts = (quality: Quality, partSizeBytes: number, numbers: number[]) => Promise<PartGrant>;

/** A part takes a while to send, and clocks differ. */
const marginMs = 60_000;
const lastPart = 10_000;

export class PartUrlCache {
  private readonly grant: GrantParts;
  private readonly ahead: number;
  private readonly nowMs: () => number;
  private readonly cached = new Map<string, CachedUrl>();
  private readonly used = new Set<string>();
  /** One request per quality at a time: parts in flight together would ask for the same numbers. */
  private readonly asking = new Map<Quality, Promise<void>>();

  constructor(grant: GrantParts, ahead: number, nowMs: () => number) {
    this.grant = grant;
    this.ahead = ahead;
    this.nowMs = nowMs;
  }

  async take(quality: Quality, partSizeBytes: number, n: number): Promise<string> {
    for (let asked = false; ; ) {
      const cached = this.cached.get(`${quality}/${n}`);
      if (cached !== undefined && (asked || cached.expiresAtMs - marginMs > this.nowMs())) {
        this.used.add(`${quality}/${n}`);
        return cached.url;
      }
      const underWay = this.asking.get(quality);
      if (underWay !== undefined) {
        await underWay.catch(() => undefined);
        continue;
      }
      if (asked) throw new JobFailure("RUNNER_FAILED", `The API gave no URL for part ${n} of ${quality}.`);
      asked = true;
      const request = this.request(quality, partSizeBytes, n).finally(() => this.asking.delete(quality));
      this.asking.set(quality, request);
      await request;
    }
  }

  /** The URL was refused: the next take asks for another. */
  forget(quality: Quality, n: number): void {
    this.cached.delete(`${quality}/${n}`);
  }

  private async request(quality: Quality, partSizeBytes: number, n: number): Promise<void> {
    const numbers = Array.from({ length: this.ahead }, (_, index) => n + index).filter(
      (number) => number === n || (number <= lastPart && !this.used.has(`${quality}/${number}`)),
    );
    const granted = await this.grant(quality, partSizeBytes, numbers);
    const expiresAtMs = Date.parse(granted.expiresAt);
    for (const { n: number, url } of granted.parts) this.cached.set(`${quality}/${number}`, { url, expiresAtMs });
  }
}
