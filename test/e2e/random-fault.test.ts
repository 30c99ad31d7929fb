/** A few runs of `npm run faults`: what strikes, and where, follows from the seed. Each must end whole, with nothing left over. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { planRun } from "../../dev/fault-plan.ts";
import { carryOutRun, describePlan } from "../../dev/fault-run.ts";
import { type Clips, makeClips } from "../../dev/fault-upload.ts";
import { findBinaries } from "../../gpu-runner/media/binaries.ts";

let folder: string;
let clips: Clips;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mmf-faults-"));
  clips = await makeClips(await findBinaries(process.env), folder);
});

afterAll(() => rm(folder, { recursive: true, force: true }));

test.each([
  [4, 3],
  [4, 6],
])("seed %i, run %i", async (seed, run) => {
  const plan = planRun(seed, run);
  const lines: string[] = [describePlan(plan)];
  const result = await carryOutRun(plan, clips, { keep: false, say: (line) => lines.push(line) });
  expect(result.complaints, lines.join("\n")).toEqual([]);
  expect(result.outcomes.filter(({ struck }) => struck).length, lines.join("\n")).toBeGreaterThan(0);
});
