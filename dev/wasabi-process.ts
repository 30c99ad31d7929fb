/** The local Wasabi as a process of its own, so that it can be killed and started again alone. */
import { receiveConfig, stopOnSignal } from "./child-runtime.ts";
import { startWasabi, WasabiConfig } from "./wasabi.ts";

const wasabi = await startWasabi(await receiveConfig(WasabiConfig));
stopOnSignal(() => wasabi.dispose());
console.log(
  JSON.stringify({
    level: "info",
    time: Date.now(),
    msg: "wasabi listens",
    endpoint: wasabi.endpoint,
  }),
);
