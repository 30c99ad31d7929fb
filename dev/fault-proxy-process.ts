/** The fault proxies as one process of the stack, beside and not within what they stand between. */
import { receiveConfig, stopOnSignal } from "./child-runtime.ts";
import { FaultProxyConfig, startFaultProxy } from "./fault-proxy.ts";

const proxy = await startFaultProxy(await receiveConfig(FaultProxyConfig));
stopOnSignal(() => proxy.close());
process.send?.("ready");
