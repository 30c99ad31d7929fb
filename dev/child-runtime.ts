/**
 * What a dev process of the stack needs from its supervisor: its configuration over IPC (so that no secret shows in
 * `ps`), and a clean stop on SIGTERM.
 */
import type { z } from "zod";

export async function receiveConfig<Schema extends z.ZodType>(schema: Schema): Promise<z.infer<Schema>> {
  if (process.send === undefined) {
    throw new Error("This process is started by the stack (npm start), which hands it its configuration.");
  }
  // The lifeline let go of the channel; until the configuration is here it is what keeps this process alive.
  process.channel?.ref();
  const message = await new Promise<unknown>((resolve) => process.once("message", resolve));
  process.channel?.unref();
  return schema.parse(message);
}

export function stopOnSignal(dispose: () => Promise<void>): void {
  const stop = () => {
    dispose().then(
      () => process.exit(0),
      (error: unknown) => {
        console.error(error);
        process.exit(1);
      },
    );
  };
  process.once("SIGTERM", stop);
  process.once("SIGINT", stop);
}
