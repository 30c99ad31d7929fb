/** The worker and the pull API as one process of the stack. Says `ready` once migrations are applied. */
import { receiveConfig, stopOnSignal } from "./child-runtime.ts";
import { startWorker, WorkerConfig } from "./worker.ts";

const worker = await startWorker(await receiveConfig(WorkerConfig));
stopOnSignal(() => worker.dispose());
process.send?.("ready");
console.log(JSON.stringify({ level: "info", time: Date.now(), msg: "worker listens", url: worker.url.href }));
