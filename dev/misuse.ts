/** How the local commands end when they are called wrongly: what is wrong, where their options are told, exit code 2. */
import { bad, dim } from "./paint.ts";

/** @param command as a person types it: `npm start --` */
export function misuse(command: string, message: string): never {
  console.error(`${bad("✗")} ${message}\n  ${dim(`See ${command} --help`)}`);
  process.exit(2);
}
