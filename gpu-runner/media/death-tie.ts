/**
 * Ties a child's life to ours where the system can: the kernel then kills it when this process dies, also by SIGKILL, and
 * also a child that hangs. Elsewhere ffmpeg notices by itself, as its source and its outputs are this process's sockets, once
 * it next reads or writes.
 */
import { spawnSync } from "node:child_process";

const tie = ["--pdeathsig", "KILL"];
const trialTimeoutMs = 5_000;
let known: boolean | null = null;

/** Tried, not looked up: util-linux's setpriv can, BusyBox's cannot. */
function canTie(): boolean {
  if (process.platform !== "linux") return false;
  return spawnSync("setpriv", [...tie, "true"], { stdio: "ignore", timeout: trialTimeoutMs }).status === 0;
}

/** The program and its first arguments, to be followed by its own: setpriv becomes the program, under the same pid. */
export function tiedToUs(program: string): { program: string; leading: string[] } {
  known ??= canTie();
  return known ? { program: "setpriv", leading: [...tie, program] } : { program, leading: [] };
}
