/** docs/failures.md, from the one table of failures: what each code means and does, and which trouble becomes which. */
import { failureFacts } from "../schemas/failure.ts";
import { type FailureSource, failureSources } from "../schemas/failure-policy.ts";
import { markdownTable } from "./markdown-table.ts";

export function failureDocument(): string {
  const codes = Object.entries(failureFacts).map(([code, { title, policy, retryable, advice }]) => [
    `\`${code}\``,
    title,
    policy,
    retryable ? "yes" : "no",
    advice,
  ]);
  return `<!-- Written by \`npm run docs\` from schemas/failure.ts and schemas/failure-policy.ts: change it there. -->
# Failures

Every code that an answer, a problem of an asset, a log line or an alert may carry. *Policy* says what follows when a step
meets it:

- **outage**: waited out however long it lasts, one command for each backoff step, without using up a try. Only an original
  that stays missing is given up, after a minute.
- **attempt**: tried again after a backoff; failed once the step's five tries are used up.
- **fatal**: failed at once, as nothing changes by itself.
- **stale**: the work is no longer wanted; nobody is told.

*Retried* says whether the system tries again by itself, without anybody doing anything. A \`Retry-After\` (seconds or a
date) is honoured up to an hour.

${markdownTable(["Code", "What went wrong", "Policy", "Retried", "What to do"], codes)}

## Which trouble becomes which code

${Object.values(failureSources).map(sourceSection).join("\n\n")}
`;
}

function sourceSection({ says, rows, otherwise }: FailureSource): string {
  const named = Object.entries(rows).map(([sign, code]) => [`\`${sign}\``, `\`${code}\``, failureFacts[code].policy]);
  const others = otherwise === null ? [] : [["anything else", `\`${otherwise}\``, failureFacts[otherwise].policy]];
  return `**${says}**\n\n${markdownTable(["Sign", "Code", "Policy"], [...named, ...others])}`;
}
