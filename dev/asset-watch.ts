/** Keeps the newest document of an asset at hand, over as many status sockets as it takes. */
import { setTimeout as sleep } from "node:timers/promises";
import type { SingleFrame, StatusFrame } from "../schemas/api.ts";
import type { Asset } from "../schemas/asset.ts";
import { followStatus } from "./stack-client.ts";
import type { StackFile } from "./stack-file.ts";

const pollMs = 50;

export class AssetWatch {
  #asset: Asset | null = null;
  #failure: Error | null = null;
  readonly #closing = new AbortController();
  readonly #onChange: (asset: Asset) => void;

  /** @param silenceMs without a word for so long, the watch gives up */
  constructor(stack: StackFile, fileId: string, silenceMs: number, onChange: (asset: Asset) => void) {
    this.#onChange = onChange;
    const seen = (frame: StatusFrame) => {
      for (const each of frame.type === "batch" ? frame.frames : [frame]) this.#take(each);
      return false;
    };
    followStatus(stack, fileId, silenceMs, seen, this.#closing.signal).catch((error: Error) => {
      this.#failure = error;
    });
  }

  #take(frame: SingleFrame): void {
    if (frame.type !== "snapshot" && frame.type !== "asset") return;
    // Frames may overtake each other across a reconnect: the newest revision stands.
    if (this.#asset !== null && frame.asset.revision <= this.#asset.revision) return;
    this.#asset = frame.asset;
    this.#onChange(frame.asset);
  }

  get asset(): Asset | null {
    return this.#asset;
  }

  /** @throws when the time is over, or nothing can be heard any more */
  async until(what: string, timeoutMs: number, wanted: (asset: Asset) => boolean): Promise<Asset> {
    const deadlineMs = performance.now() + timeoutMs;
    for (;;) {
      if (this.#asset !== null && wanted(this.#asset)) return this.#asset;
      if (this.#failure !== null) throw this.#failure;
      if (performance.now() > deadlineMs) throw new Error(`${what}: not within ${timeoutMs / 1_000} s`);
      await sleep(pollMs);
    }
  }

  close(): void {
    this.#closing.abort();
  }
}
