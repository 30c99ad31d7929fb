/** Where ffmpeg reads the HDR tables: computed once in a process, and written into the folder of each job that needs one. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type HdrTransfer, hdrCube } from "./hdr-cube.ts";

const computed = new Map<HdrTransfer, string>();

export async function writeHdrCube(transfer: HdrTransfer, folder: string): Promise<string> {
  const cube = computed.get(transfer) ?? hdrCube(transfer);
  computed.set(transfer, cube);
  const path = join(folder, `${transfer}.cube`);
  await writeFile(path, cube);
  return path;
}
