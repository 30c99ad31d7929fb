/** docs/failures.md, from the one table of failures. */
import { failureFacts } from "../schemas/failure.ts";
import { markdownTable } from "./markdown-table.ts";

export function failureDocument(): string {
  const rows = Object.entries(failureFacts).map(([code, { title, retryable, advice }]) => [
    `\`${code}\``,
    title,
    retryable ? "yes" : "no",
    advice,
  ]);
  return `<!-- Written by \`npm run docs\` from schemas/failure.ts: change it there. -->
# Failures

Every code that an answer, a problem of an asset, a log line or an alert may carry. *Retried* says whether the system
tries again by itself, without anybody doing anything.

${markdownTable(["Code", "What went wrong", "Retried", "What to do"], rows)}
`;
}
