/** Makes the files of the table of sources, and knows what this ffmpeg cannot make. */
import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import { runFfmpeg } from "./ffmpeg-clip.ts";
import type { Need, Step } from "./source-file.ts";

const exec = promisify(execFile);

/** @returns the path of the file that the last step made */
export async function makeSource(steps: readonly Step[], folder: string): Promise<string> {
  let made = "";
  for (const step of steps) {
    if (typeof step === "string") {
      const args = step.split(" ").map((arg) => arg.replace(/\{(.+)\}$/, (_, name: string) => join(folder, name)));
      await runFfmpeg(args);
      made = args.at(-1) ?? "";
    } else {
      const before = step.from === "" ? Buffer.alloc(0) : await readFile(join(folder, step.from));
      const after = step.edit(before);
      if (step.from !== "" && after.equals(before)) throw new Error(`the edit of ${step.from} changed nothing`);
      made = join(folder, step.to);
      await writeFile(made, after);
    }
  }
  if (basename(made).split(".")[0] !== "a") throw new Error(`the last step made ${made}, which is not the source`);
  return made;
}

/** What is lacking, in words; null when everything is there. */
export async function lacking(needs: readonly Need[]): Promise<string | null> {
  for (const need of needs) {
    if (need === "transport-streams") {
      const { stdout: banner } = await exec("ffprobe", ["-version"]);
      if (banner.includes("johnvansickle.com")) return "this static ffprobe crashes on transport streams";
      continue;
    }
    const [kind, name] = need.split(":");
    const { stdout } = await exec("ffmpeg", ["-hide_banner", `-${kind}s`]);
    if (!new RegExp(`^ \\S+ +${name} `, "m").test(stdout)) return `this ffmpeg has no ${kind} ${name}`;
  }
  return null;
}
