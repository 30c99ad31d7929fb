/** Takes renditions as a store would, by parts in any order, into files of one folder. */
import { writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import type { RenditionSink } from "../../gpu-runner/media/encode-run.ts";
import type { RenditionPlan } from "../../schemas/ladder.ts";

export const renditionPath = (folder: string, { quality }: Pick<RenditionPlan, "quality">) =>
  join(folder, `${quality}.mp4`);

/** What an earlier attempt wrote is void. */
export function openRendition(folder: string, plan: RenditionPlan): RenditionSink {
  const path = renditionPath(folder, plan);
  writeFileSync(path, "");
  return {
    part: async (n, bytes, release) => {
      const file = await open(path, "r+");
      try {
        await file.write(bytes, 0, bytes.length, (n - 1) * plan.partSizeBytes);
      } finally {
        await file.close();
        release();
      }
    },
  };
}
