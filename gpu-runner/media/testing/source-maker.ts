/** Makes the files of the table of sources. */
import { readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { runFfmpeg } from "./ffmpeg-clip.ts";
import type { Step } from "./source-file.ts";

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
