/** `npm run bench`: measures what the pipeline promises, on this machine, against the least that could do the same. */

import { OptionError } from "./bench-options.ts";
import { catalogueBench } from "./catalogue.ts";
import { colourBench } from "./colour.ts";
import { deliveryBench } from "./delivery.ts";
import type { Bench } from "./figure.ts";
import { qualityBench } from "./quality.ts";
import { queueWaitBench } from "./queue-wait.ts";
import { runnerBench } from "./runner.ts";
import { sweepBench } from "./sweep.ts";
import { transferBench } from "./transfer.ts";

const benches: Readonly<Record<string, Bench>> = {
  catalogue: catalogueBench,
  colour: colourBench,
  delivery: deliveryBench,
  quality: qualityBench,
  "queue-wait": queueWaitBench,
  runner: runnerBench,
  sweep: sweepBench,
  transfer: transferBench,
};

const help = `Usage: npm run bench -- NAME [options]

Starts what it measures on a data directory of its own, and removes it at the
end. Progress goes to standard error; the last lines of standard output are one
JSON object per figure: {"figure","value","baseline","ratio"}.

${Object.entries(benches)
  .map(([name, { says }]) => `  ${name.padEnd(12)} ${says}`)
  .join("\n")}

  npm run bench -- NAME --help tells a bench's own options.`;

function misuse(message: string, command: string): never {
  console.error(`${message}\n  See ${command} --help`);
  process.exit(2);
}

const [name, ...args] = process.argv.slice(2);
if (name === undefined || name === "--help" || name === "-h") {
  console.log(help);
  process.exit(name === undefined ? 2 : 0);
}
const known = `there are ${Object.keys(benches).join(", ")}.`;
const bench = Object.hasOwn(benches, name) ? benches[name] : undefined;
if (bench === undefined) misuse(`There is no bench named ${name}; ${known}`, "npm run bench --");
if (args.includes("--help") || args.includes("-h")) {
  console.log(bench.help);
  process.exit(0);
}
await bench.run(args).catch((error: Error) => {
  if (error instanceof OptionError) misuse(error.message, `npm run bench -- ${name}`);
  console.error(error.message);
  process.exit(1);
});
process.exit(0);
