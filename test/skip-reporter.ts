/** Ends a run with what was skipped and why: the default reporter shows the reasons of failed files alone. */
import type { Reporter, TestModule } from "vitest/node";

export default class SkipReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const lines = modules.flatMap((module) => {
      const counts = new Map<string, number>();
      for (const test of module.children.allTests("skipped")) {
        const result = test.result();
        // No note: left out by the command line.
        if (result.state !== "skipped" || result.note === undefined) continue;
        counts.set(result.note, (counts.get(result.note) ?? 0) + 1);
      }
      return [...counts].map(([why, count]) => `   ${count} of ${module.relativeModuleId}: ${why}`);
    });
    if (lines.length > 0) console.log(["", " Skipped, and why", ...lines, ""].join("\n"));
  }
}
