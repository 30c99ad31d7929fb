/** The bare worker under a workerd of its own, of the version that runs the stack, with its bucket on the same disk. */
import { fileURLToPath } from "node:url";
import { convertV4MiniflareOptions, Log, LogLevel, Miniflare } from "miniflare";
import { bundleWorker } from "../dev/bundle.ts";
import { receiveConfig, stopOnSignal } from "../dev/child-runtime.ts";
import { BareConfig, bareBucket } from "./bare-copy.ts";

const { port, directory, accessKeyId, secretAccessKey } = await receiveConfig(BareConfig);
const miniflare = new Miniflare(
  convertV4MiniflareOptions({
    ...(await bundleWorker(fileURLToPath(new URL("bare-worker.ts", import.meta.url)))),
    name: "bare",
    host: "127.0.0.1",
    port,
    modules: true,
    compatibilityDate: "2026-01-01",
    cf: false,
    log: new Log(LogLevel.WARN),
    logRequests: false,
    telemetry: { enabled: false },
    resourcePersistencePath: directory,
    r2Buckets: { BUCKET: { id: bareBucket, s3Credentials: { accessKeyId, secretAccessKey } } },
  }),
);
await miniflare.ready;
stopOnSignal(() => miniflare.dispose());
process.send?.("ready");
