/** Why an original's bytes cannot be told apart by time, so that a reader must take the whole. */
import type { WholeBecause } from "../../schemas/original-access.ts";

export class WholeOnly extends Error {
  override readonly name = "WholeOnly";
  readonly reason: WholeBecause;

  constructor(reason: WholeBecause, message: string) {
    super(message);
    this.reason = reason;
  }
}

export const unreadable = (message: string) => new WholeOnly("index-unreadable", message);
