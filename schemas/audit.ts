/** What operators ordered, and which originals were opened to whom, as it is kept and told. */
import { z } from "zod";

export const AuditEntry = z.object({
  id: z.int().positive(),
  at: z.iso.datetime(),
  /** admin:{sub}; of an opened original {role}:{sub}; cron for what the timer did of itself. */
  by: z.string(),
  /** policy.changed · project.pinned · project.unpinned · project.wrapped · project.prewarmed · asset.pinned · original.opened … */
  action: z.string(),
  /** Null, like the next two, for what it is not about. */
  clientName: z.string().nullable(),
  projectName: z.string().nullable(),
  fileId: z.string().nullable(),
  detail: z.record(z.string(), z.unknown()),
});
export type AuditEntry = z.infer<typeof AuditEntry>;

export const AuditPage = z.object({ entries: z.array(AuditEntry), cursor: z.string().nullable() });
