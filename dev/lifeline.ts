/**
 * Preloaded (`node --import`) into every child of the stack: when the supervisor is gone, even by kill -9, the IPC
 * channel closes, and the child stops itself and its whole process group, so that no workerd or ffmpeg outlives it.
 */
import { isMainThread } from "node:worker_threads";

// Longer than the runner takes to hand its job back.
const graceMs = 6_000;

if (isMainThread && process.send !== undefined) {
  process.on("disconnect", () => {
    const killGroup = () => {
      try {
        process.kill(-process.pid, "SIGKILL");
      } catch {
        // Not a group leader: started by hand.
        process.exit(1);
      }
    };
    process.once("exit", killGroup);
    setTimeout(killGroup, graceMs);
    process.kill(process.pid, "SIGTERM");
  });
  process.channel?.unref();
}
