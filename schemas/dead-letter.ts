/** Dead letters as the operator sees them. The message's body is never told: it may hold signed URLs. */
import { z } from "zod";
import { Command, QueueName } from "./command.ts";
import { FailureCode } from "./failure.ts";
import { FileId } from "./id.ts";

export const Resolution = z.enum(["replayed", "discarded"]);
export type Resolution = z.infer<typeof Resolution>;

export const DeadLetterView = z.object({
  id: z.string(),
  queue: z.string(),
  /** Null, like the next two, where the message is not a command. */
  commandType: z.string().nullable(),
  commandId: z.string().nullable(),
  fileId: z.string().nullable(),
  code: FailureCode,
  reason: z.string(),
  deadAt: z.iso.datetime(),
  /** Null while it waits for a person. */
  resolution: Resolution.nullable(),
  resolvedAt: z.iso.datetime().nullable(),
  resolvedBy: z.string().nullable(),
});
export type DeadLetterView = z.infer<typeof DeadLetterView>;

/** `deadAt id` of the last letter of the page before. */
const DeadLetterCursor = z
  .string()
  .max(300)
  .transform((text, ctx) => {
    const [deadAt, id, ...rest] = text.split(" ");
    if (deadAt !== undefined && id !== undefined && id !== "" && rest.length === 0) return { deadAt, id };
    ctx.addIssue({ code: "custom", message: "must be a cursor from an earlier page" });
    return z.NEVER;
  });

export const cursorAfter = ({ deadAt, id }: { deadAt: string; id: string }) => `${deadAt} ${id}`;

const CommandType = z.enum(
  Command.options.map(({ shape }) => shape.type.value) as [Command["type"], ...Command["type"][]],
);
const filter = { queue: QueueName.optional(), commandType: CommandType.optional(), fileId: FileId.optional() };

export const DeadLetterQuery = z.strictObject({
  ...filter,
  resolution: z.enum(["open", ...Resolution.options]).default("open"),
  cursor: DeadLetterCursor.optional(),
});

export const DeadLetterPage = z.object({ deadLetters: z.array(DeadLetterView), cursor: z.string().nullable() });

/** Which open letters to replay or discard; `{}` is all of them. */
export const DeadLetterBatch = z.strictObject({ ...filter, cursor: DeadLetterCursor.optional() });

export const DeadLetterBatchAnswer = z.object({
  /** How many this call settled. */
  resolved: z.int().nonnegative(),
  /** Still open: these cannot be replayed. */
  refused: z.array(z.object({ id: z.string(), code: FailureCode, detail: z.string() })),
  /** Open letters that match and that this call has not looked at. */
  left: z.int().nonnegative(),
  /** Goes on where this call ended; null when nothing is left. */
  cursor: z.string().nullable(),
});
export type DeadLetterBatchAnswer = z.infer<typeof DeadLetterBatchAnswer>;
