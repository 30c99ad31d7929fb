/** The children of a process, as Linux lists them: what a job must end, and must not leave behind. */
import { readFile } from "node:fs/promises";

/** @returns their pids and names; none when the process is gone */
export async function childrenOf(pid: number | undefined): Promise<{ pid: number; name: string }[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8").catch(() => "");
  const pids = text.split(" ").filter((child) => child !== "");
  return await Promise.all(
    pids.map(async (child) => ({
      pid: Number(child),
      name: (await readFile(`/proc/${child}/comm`, "utf8").catch(() => "")).trim(),
    })),
  );
}
