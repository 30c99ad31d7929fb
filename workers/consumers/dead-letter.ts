/**
 * The consumer of every dead-letter queue: keeps the message as it came, raises one alert per cause. It changes no
 * asset: a step that lost its command is watched by the asset's own timer, and a dead call to the application or the
 * catalogue is no fault of the asset's.
 */
import { Command } from "../../schemas/command.ts";
import type { FailureCode } from "../../schemas/failure.ts";
import { type Alert, type NewDeadLetter, raiseLetterAlert, recordDeadLetter } from "../stores/incident.ts";

const suffix = "-dead";

export const isDeadLetterQueue = (queue: string) => queue.endsWith(suffix);

/** @returns the alert, when its cause is a new one */
export async function keepDeadLetter(
  database: D1Database,
  message: Pick<Message, "id" | "body" | "timestamp">,
  deadQueue: string,
  nowMs: number,
): Promise<Alert | null> {
  const letter = deadLetterOf(message, deadQueue.slice(0, -suffix.length), nowMs);
  await recordDeadLetter(database, letter);
  // Raised for a letter that is known too: the try that recorded it may have ended before its alert.
  return raiseLetterAlert(database, letter.id);
}

export function deadLetterOf({ id, body }: Pick<Message, "id" | "body">, queue: string, nowMs: number): NewDeadLetter {
  const parsed = Command.safeParse(body);
  const command = parsed.success ? parsed.data : null;
  const [code, reason] = causeOf(queue, command);
  return {
    id,
    queue,
    commandType: command?.type ?? null,
    commandId: command?.id ?? null,
    fileId: command?.fileId ?? null,
    body: textOf(body),
    code,
    reason,
    deadAt: new Date(nowMs).toISOString(),
  };
}

function causeOf(queue: string, command: Command | null): [FailureCode, string] {
  if (command === null) return ["BAD_MESSAGE", `A message in ${queue} is not a command.`];
  if (command.type === "NotifyApp") return ["APP_WEBHOOK_FAILED", `The application was not told of ${command.event}.`];
  if (command.type === "EnqueueTranscode") return ["RUNNER_FAILED", "No runner could take the job's message."];
  return ["INTERNAL", `${command.type} failed again and again.`];
}

/** Whatever came, as text: JSON where it has a JSON form. */
function textOf(body: unknown): string {
  try {
    return JSON.stringify(body) ?? String(body);
  } catch {
    return String(body);
  }
}
