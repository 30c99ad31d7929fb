/** `npm run demo`: sends videos through the whole pipeline, shows them on their way, and proves what comes out. */
import { mkdir, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { type Binaries, findBinaries } from "../gpu-runner/media/binaries.ts";
import { Slug } from "../schemas/id.ts";
import { reportFile } from "./demo-report.ts";
import { type DemoFile, prepareFile } from "./demo-run.ts";
import { renderFile, summarizeFile } from "./demo-view.ts";
import { makeClip } from "./ffmpeg-tool.ts";
import { openLiveScreen } from "./live-screen.ts";
import { misuse } from "./misuse.ts";
import { bad, bold, dim, good, terminalColumns, warm } from "./paint.ts";
import type { StackFile } from "./stack-file.ts";
import { findRunningStack, type LaunchedStack, launchStack } from "./stack-launch.ts";

const help = `Usage: npm run demo [-- options] [FILE…]

Sends videos through the pipeline on this machine: uploads them to the local
Wasabi, sends the signed webhook, follows every step live, then reads each proxy
back through its delivery URL, decodes it and counts its frames. Without FILE it
makes a 20 s clip in 1080p with sound. Uses the stack that runs on the data
directory, or starts one and stops it at the end.

  --keep           leave the stack up, so that the delivery URLs go on working
                   (stop it with npm start -- --stop)
  --data DIR       the stack's data directory     [.stack]
  --port N         the API's port, if the stack is started here
  --client NAME    [demo]
  --project NAME   [first-cut]
  --help

Exits 0 only if every proxy of every file came back whole.`;

const command = "npm run demo --";

function fail(message: string): never {
  console.error(`${bad("✗")} ${message}`);
  process.exit(1);
}

function parseOptions() {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        keep: { type: "boolean", default: false },
        data: { type: "string", default: fileURLToPath(new URL("../.stack", import.meta.url)) },
        port: { type: "string" },
        client: { type: "string", default: "demo" },
        project: { type: "string", default: "first-cut" },
        help: { type: "boolean", default: false, short: "h" },
      },
    });
    return { ...values, paths: positionals.map((path) => resolve(path)) };
  } catch (error) {
    return misuse(command, (error as Error).message);
  }
}

async function checkFiles(paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    const found = await stat(path).catch(() => null);
    if (found === null) fail(`There is no file ${path}.`);
    if (!found.isFile() || found.size === 0) fail(`${path} is not a file with something in it.`);
  }
}

async function sampleClip(binaries: Binaries, dataDirectory: string): Promise<string> {
  const path = join(dataDirectory, "demo-clip.mp4");
  if ((await stat(path).catch(() => null)) !== null) return path;
  await mkdir(dataDirectory, { recursive: true });
  process.stdout.write(dim("making a 20 s clip in 1080p with sound…\n"));
  await makeClip(binaries, path, { width: 1920, height: 1080, seconds: 20 });
  return path;
}

async function sendThrough(
  stack: StackFile,
  binaries: Binaries,
  paths: readonly string[],
  names: { clientName: string; projectName: string },
): Promise<DemoFile[]> {
  const files: DemoFile[] = [];
  for (const path of paths) files.push(await prepareFile(stack, binaries, { path, ...names }));
  const screen = openLiveScreen(
    process.stdout,
    files.map((file) => ({
      lines: (columns) => renderFile(file.state, columns),
      summary: () => summarizeFile(file.state),
    })),
  );
  await Promise.all(files.map((file) => file.run()));
  screen.finish();
  return files;
}

const options = parseOptions();
if (options.help) {
  console.log(help);
  process.exit(0);
}
const dataDirectory = resolve(options.data);
for (const name of ["client", "project"] as const) {
  const parsed = Slug.safeParse(options[name]);
  if (!parsed.success) misuse(command, `--${name} ${parsed.error.issues[0]?.message}.`);
}
const port = options.port === undefined ? null : Number(options.port);
if (port !== null && !(Number.isInteger(port) && port >= 0 && port <= 65_535))
  misuse(command, "--port takes a number from 0 to 65535.");
await checkFiles(options.paths);
const binaries = await findBinaries(process.env).catch((error: Error) => fail(error.message));
for (const warning of binaries.warnings) console.error(`${warm("!")} ${warning}`);

let launched: LaunchedStack | null = null;
let stopping = false;
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, async () => {
    if (stopping) process.exit(130);
    stopping = true;
    await launched?.stop();
    process.exit(130);
  });
}

const running = await findRunningStack(dataDirectory).catch((error: Error) => fail(error.message));
if (running === null) {
  process.stdout.write(dim("starting the stack…\n"));
  launched = await launchStack(dataDirectory, { keep: options.keep, port }).catch((error: Error) =>
    fail(error.message),
  );
}
const stack = running ?? launched?.file ?? fail("no stack");
console.log(`${good("✓")} stack at ${bold(stack.api)}  ${dim(`logs in ${join(dataDirectory, "logs")}`)}\n`);

const paths = options.paths.length > 0 ? options.paths : [await sampleClip(binaries, dataDirectory)];
const files = await sendThrough(stack, binaries, paths, { clientName: options.client, projectName: options.project });
const columns = process.stdout.isTTY ? terminalColumns() : Number.POSITIVE_INFINITY;
const stackEnds = launched !== null && !options.keep;
for (const file of files) console.log(reportFile(file, { columns, stackEnds }).join("\n"));

const failed = files.filter((file) => file.state.failure !== null).length;
if (failed > 0)
  console.error(
    `\n${bad("✗")} ${failed} of ${files.length} did not come through. The logs are in ${join(dataDirectory, "logs")}.`,
  );
if (launched !== null && options.keep) {
  console.log(
    `\n${dim(`The stack stays up: ${join(dataDirectory, "stack.json")}. Stop it with npm start -- --stop --data ${dataDirectory}`)}`,
  );
} else if (launched !== null) {
  await launched.stop();
}
process.exit(failed === 0 ? 0 : 1);
