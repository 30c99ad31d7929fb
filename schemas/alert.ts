/** How loud an alert is. Derived from its cause, so that it is the same wherever the alert is shown. */
import { z } from "zod";

/** `critical`: footage may be lost for good, and somebody must act at once. */
export const AlertSeverity = z.enum(["critical", "warning"]);
export type AlertSeverity = z.infer<typeof AlertSeverity>;

const lostOriginal = "original-lost:";

export const lostOriginalCause = (fileId: string) => `${lostOriginal}${fileId}`;

export const severityOf = (cause: string): AlertSeverity => (cause.startsWith(lostOriginal) ? "critical" : "warning");
