/** What the sweep bench tells its worker, and is told. */
import { z } from "zod";

export const SeedOrder = z.object({ documents: z.array(z.object({ fileId: z.string(), document: z.string() })) });
export type SeedOrder = z.infer<typeof SeedOrder>;

export const SweepOrder = z.object({ nowMs: z.int() });

export const SweepResult = z.object({
  nominated: z.int(),
  unanswered: z.int(),
  rowsRead: z.int(),
  seconds: z.number(),
});
export type SweepResult = z.infer<typeof SweepResult>;
