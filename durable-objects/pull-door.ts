/** The Pull object's door: one object, through which every runner waits for a job. */
import { z } from "zod";

export interface PullDoor {
  /** `/pull?waitMs=&rushOnly=`. 200: a PullAnswer, after spaces for as long as it waits; 503: a PullRefusal. */
  fetch(request: Request): Promise<Response>;
  /** Who waits now, and what keeps the queues from being looked at. */
  look(): Promise<{ waiting: number; trouble: string | null }>;
}

export const PullRefusal = z.object({ detail: z.string(), retryAfterMs: z.int().nonnegative() });
export type PullRefusal = z.infer<typeof PullRefusal>;

export function pullDoor(namespace: DurableObjectNamespace): PullDoor {
  // As with the Asset object's door: the class implements this interface.
  return namespace.getByName("runners") as unknown as PullDoor;
}
