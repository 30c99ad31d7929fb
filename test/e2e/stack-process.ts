/** The local stack as a process of its own, seen by an outsider: stack.json is read by the tests' own description of it. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { StackRun, type StackRunOptions } from "../../dev/stack-run.ts";
import { StackFacts } from "./asset-document.ts";
import { PipelineClient } from "./pipeline-client.ts";

export class StackProcess extends StackRun {
  static async start(options: StackRunOptions = {}): Promise<StackProcess> {
    const stack = new StackProcess(options);
    await stack.start();
    return stack;
  }

  /** stack.json as it is now. */
  async facts(): Promise<StackFacts> {
    return StackFacts.parse(JSON.parse(await readFile(join(this.dataDirectory, "stack.json"), "utf8")));
  }

  async client(): Promise<PipelineClient> {
    return new PipelineClient(await this.facts());
  }
}
