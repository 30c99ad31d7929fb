/** `npm run doctor`: looks at a deployment from outside and says what is wrong, and the command that repairs it. */
import { readdir } from "node:fs/promises";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { misuse } from "../misuse.ts";
import { readStackFile } from "../stack-file.ts";
import { bucketGroup } from "./bucket.ts";
import { runGroups } from "./check.ts";
import { clockGroup } from "./clock.ts";
import { agentGroup, databaseGroup, runnerGroup, workerGroup } from "./deployment.ts";
import { keyGroups } from "./key-right.ts";
import { queueGroup } from "./queue.ts";
import { reportLines, tallyOf } from "./report.ts";
import { type DoctorSettings, readSettings, SettingsError, settingsOfStack } from "./setting.ts";
import { openWorld } from "./world.ts";

const command = "npm run doctor --";

const help = `Checks a deployment from outside, and says what is wrong in plain words with the command that repairs it.

Usage: ${command} --env FILE      a real one: docs/examples/doctor.env names what to put into FILE
       ${command} [--data DIR]    the local stack that runs on DIR (.stack)

  --json    the findings as one JSON document
  --help

Nothing that exists is touched. It opens multipart uploads below originals/.doctor/ and proxies/.doctor/ and aborts
them, and the worker's self-test replaces three objects of 4 KiB below proxies/.self-test/.

Each check is ok (✓), failed (✗) or not checkable (?): the store cannot tell, or FILE lacks what is needed to ask.
Exit code: 0 nothing failed, 1 something did, 2 called wrongly.
`;

function parseOptions() {
  try {
    return parseArgs({
      options: {
        env: { type: "string" },
        data: { type: "string" },
        json: { type: "boolean", default: false },
        help: { type: "boolean", default: false, short: "h" },
      },
    }).values;
  } catch (error) {
    return misuse(command, (error as Error).message);
  }
}

async function settingsFor({ env, data = ".stack" }: { env?: string | undefined; data?: string | undefined }) {
  if (env !== undefined) return await readSettings(env);
  const file = await readStackFile(resolve(data));
  if (file === null || Object.keys(file.pids).length === 0) {
    throw new SettingsError(`no stack runs on ${data}; name a deployment with --env FILE, or npm start`);
  }
  return settingsOfStack(file);
}

const values = parseOptions();
if (values.help) {
  console.log(help);
  process.exit(0);
}
if (values.env !== undefined && values.data !== undefined) misuse(command, "--env and --data exclude each other.");

let settings: DoctorSettings;
try {
  settings = await settingsFor(values);
} catch (error) {
  if (!(error instanceof SettingsError)) throw error;
  misuse(command, values.env === undefined ? `${error.message}.` : `--env ${values.env}: ${error.message}.`);
}
const migrationFiles = (await readdir(fileURLToPath(new URL("../../migrations", import.meta.url)))).filter((name) =>
  name.endsWith(".sql"),
);
// The worker first: its self-test writes what the bucket's checks read. The clocks last: the others read them.
const groups = [workerGroup, databaseGroup, bucketGroup, ...keyGroups, queueGroup, agentGroup, runnerGroup, clockGroup];
const findings = await runGroups(groups, openWorld(settings, migrationFiles));
const tally = tallyOf(findings);
console.log(values.json ? JSON.stringify({ findings, tally }, null, 2) : reportLines(findings).join("\n"));
process.exitCode = tally.failed > 0 ? 1 : 0;
