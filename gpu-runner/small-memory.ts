/** Imported before anything else: what keeps a process small that lives for months beside its encoders. */
import { enableCompileCache } from "node:module";
import { setFlagsFromString } from "node:v8";
import { launchEnvironment } from "./launch-environment.ts";

// Fragments leave garbage that dies young. A nursery that grows with it takes 30 MB, and saves no time.
setFlagsFromString("--semi-space-growth-factor=1");
// Types are stripped by a compiler that takes 20 MB. It is not loaded where a start before has left the code that it made.
enableCompileCache();
// Read by this process when it began. An encoder is better off without them.
for (const name of Object.keys(launchEnvironment)) delete process.env[name];
