/** Ceph as a process of its own, so that it can be killed as one and started again alone. */
import { receiveConfig, stopOnSignal } from "../child-runtime.ts";
import { startCluster } from "./cluster.ts";
import { ClusterConfig } from "./cluster-config.ts";

const cluster = await startCluster(await receiveConfig(ClusterConfig));
stopOnSignal(() => cluster.stop());
process.send?.("ready");
const how = await cluster.broken;
console.error(how);
await cluster.stop();
process.exit(1);
