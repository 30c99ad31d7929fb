/** `npm start`: brings the local stack up, says where everything listens, and ends all of it on Ctrl-C. */
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { LocalS3, localS3OfEnvironment } from "./local-s3.ts";
import { misuse } from "./misuse.ts";
import { bad, bold, dim, good, warm } from "./paint.ts";
import { readPolicyOption } from "./policy-option.ts";
import { type Stack, type StackEvent, startStack } from "./stack.ts";
import { stackFilePath } from "./stack-file.ts";
import { stopRunningStack } from "./stack-launch.ts";
import { padEnd } from "./text-width.ts";

const help = `Usage: npm start [-- options]

Runs the whole pipeline on this machine: the worker under workerd, a local Wasabi,
the Queues pull API, lucid-agent on a folder, gpu-runner, and a receiver of the
application's webhooks. Needs no account. Ctrl-C ends all of it.

  --data DIR       where objects, databases, secrets and logs are kept   [.stack]
  --s3 KIND        what stands for Wasabi: miniflare, or ceph, a real S3 server
                   (needs Debian's packages of it; keep it in a --data DIR of its own)
  --port N         the API's port; 0 for any free one                    [8787, or the last run's]
  --runners N      how many gpu-runners                                  [1]
  --no-runner      none: jobs wait in the queue
  --no-agent       no lucid-agent: assets stay "distributing"
  --no-restart     report a crashed process, do not start it again
  --policy JSON    overrides of the default policy, e.g. '{"leaseMs":10000}'
  --faults         put every link behind a proxy that can be told to fail, and R2 too
                   (npm run faults does this by itself)
  --verbose        show every process's log lines
  --stop           stop the stack that runs on DIR, and exit
  --help

DIR/stack.json (mode 0600) holds every address, key and token a client needs.`;

const command = "npm start --";

function fail(message: string): never {
  console.error(`${bad("✗")} ${message}`);
  process.exit(1);
}

function wholeNumber(name: string, text: string, max: number): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0 || value > max)
    misuse(command, `--${name} takes a number from 0 to ${max}, not "${text}".`);
  return value;
}

function chosenS3(text: string | undefined): LocalS3 {
  try {
    return text === undefined ? localS3OfEnvironment() : LocalS3.parse(text);
  } catch (error) {
    if (text === undefined) return misuse(command, (error as Error).message);
    return misuse(command, `--s3 takes ${LocalS3.options.join(" or ")}, not "${text}".`);
  }
}

function parsePolicy(text: string): Record<string, unknown> {
  try {
    return readPolicyOption(text);
  } catch (error) {
    return misuse(command, (error as Error).message);
  }
}

function parseOptions() {
  try {
    return parseArgs({
      options: {
        data: { type: "string", default: ".stack" },
        s3: { type: "string" },
        port: { type: "string" },
        runners: { type: "string", default: "1" },
        "no-runner": { type: "boolean", default: false },
        "no-agent": { type: "boolean", default: false },
        "no-restart": { type: "boolean", default: false },
        policy: { type: "string" },
        faults: { type: "boolean", default: false },
        verbose: { type: "boolean", default: false },
        stop: { type: "boolean", default: false },
        help: { type: "boolean", default: false, short: "h" },
      },
    }).values;
  } catch (error) {
    return misuse(command, (error as Error).message);
  }
}

function report(event: StackEvent): void {
  switch (event.type) {
    case "ready":
      console.log(`  ${good("✓")} ${event.name} ${dim(`${(event.tookMs / 1_000).toFixed(1)} s`)}`);
      return;
    case "took-over":
      console.log(`  ${warm("!")} the last run was killed; ended ${event.orphans.length} processes it left behind`);
      return;
    case "port-moved":
      console.log(
        `  ${warm("!")} port ${event.from} of ${event.name} is taken, now ${event.to}: URLs signed before no longer work`,
      );
      return;
    case "crashed":
      console.error(
        [
          `${bad("✗")} ${event.name} crashed (${event.how})${event.restartInMs === null ? "" : `; starting it again in ${event.restartInMs / 1_000} s`}`,
          ...event.lastLines.slice(-5).map((line) => dim(`    ${line}`)),
        ].join("\n"),
      );
      return;
    case "restarted":
      console.log(`${good("✓")} ${event.name} is back`);
      return;
    case "starting":
    case "pid-changed":
      return;
  }
}

function announce(stack: Stack, dataDirectory: string, options: { runners: number; agent: boolean }): void {
  const file = stack.file();
  const rows = [
    ["API", file.api],
    ["Wasabi (S3)", file.wasabi.endpoint],
    ["  bucket", `${file.wasabi.bucket} ${dim(`region ${file.wasabi.region}`)}`],
    ["lucid-agent", options.agent ? file.lucidlink.url : dim("not started")],
    ["  tree", file.lucidlink.root],
    ["gpu-runner", options.runners === 0 ? dim("not started") : `${options.runners} pulling`],
    ["App webhooks to", file.appWebhook?.file ?? dim("nowhere")],
    ["For clients", `${stackFilePath(dataDirectory)} ${dim("addresses, keys, tokens; 0600")}`],
    ["Logs", `${dataDirectory}/logs`],
    ...(file.faults === undefined ? [] : [["Faults", `${file.faults.url}/links ${dim(file.faults.links.join(" "))}`]]),
  ];
  // Addresses are for copying: they may run over the edge, but are never shortened.
  const lines = rows.map(([label, value]) => `  ${bold(padEnd(label ?? "", 16))} ${value}`);
  console.log(["", ...lines, "", dim("  Ctrl-C stops everything. npm run demo sends a video through."), ""].join("\n"));
}

const values = parseOptions();
if (values.help) {
  console.log(help);
  process.exit(0);
}
const dataDirectory = resolve(values.data);
if (values.stop) {
  const stopped = await stopRunningStack(dataDirectory);
  console.log(stopped ? `${good("✓")} stopped the stack on ${dataDirectory}` : `No stack runs on ${dataDirectory}.`);
  process.exit(0);
}

const options = {
  dataDirectory,
  s3: chosenS3(values.s3),
  port: values.port === undefined ? null : wholeNumber("port", values.port, 65_535),
  runners: values["no-runner"] ? 0 : wholeNumber("runners", values.runners, 16),
  agent: !values["no-agent"],
  restart: !values["no-restart"],
  policy: values.policy === undefined ? null : parsePolicy(values.policy),
  faults: values.faults,
};

let stack: Stack | null = null;
const leaving = new AbortController();

async function leave(): Promise<void> {
  // Asked twice: no more patience.
  if (leaving.signal.aborted) process.exit(130);
  leaving.abort();
  console.log(dim("\n  stopping…"));
  if (stack === null) return;
  await stack.stop();
  process.exit(0);
}

process.on("exit", () => stack?.killNow());
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, leave);

// npm killed by force cannot pass a signal on; a stack that nobody can stop any more stops itself.
const parent = process.ppid;
if (process.env.npm_lifecycle_event === "start") {
  setInterval(() => {
    if (process.ppid !== parent) void leave();
  }, 1_000).unref();
}

console.log(`${bold("Motion Mavericks Fast")} ${dim(`on ${dataDirectory}`)}\n`);
try {
  stack = await startStack({
    ...options,
    signal: leaving.signal,
    onEvent: report,
    ...(values.verbose ? { onLine: (name, line) => console.log(`${dim(name.padEnd(12))} ${line}`) } : {}),
  });
} catch (error) {
  if (leaving.signal.aborted) process.exit(0);
  fail(error instanceof Error ? error.message : String(error));
}
announce(stack, dataDirectory, options);
process.send?.("ready");
