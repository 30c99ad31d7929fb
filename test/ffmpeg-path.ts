/** Tests call `ffmpeg` and `ffprobe` by name: where the system has none, they get the builds that npm ships. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";

const require = createRequire(new URL("../gpu-runner/package.json", import.meta.url));
const shipped = { ffmpeg: "@ffmpeg-installer/ffmpeg", ffprobe: "@ffprobe-installer/ffprobe" };

function isHere(program: string): boolean {
  return spawnSync(program, ["-version"], { stdio: "ignore" }).error === undefined;
}

/** Changes this process's PATH, which every test's process inherits. `MMF_FFMPEG=npm` passes over the system's builds. */
export function offerFfmpeg(): void {
  if (process.env.MMF_FFMPEG !== "npm" && isHere("ffmpeg") && isHere("ffprobe")) return;
  const folder = mkdtempSync(join(tmpdir(), "mmf-ffmpeg-"));
  for (const [program, name] of Object.entries(shipped)) symlinkSync(require(name).path, join(folder, program));
  process.env.PATH = `${folder}${delimiter}${process.env.PATH}`;
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
}
