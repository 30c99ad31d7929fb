/** For the end of a test: whatever happened on the way, nothing is owed, half-done or ownerless. */
import { expect } from "vitest";
import { unrest } from "../../dev/rest.ts";
import type { PipelineClient } from "./pipeline-client.ts";
import type { StackProcess } from "./stack-process.ts";

export async function expectRest(stack: StackProcess, client: PipelineClient, fileIds: string[]): Promise<void> {
  const assets = () => Promise.all(fileIds.map((fileId) => client.asset(fileId)));
  expect(await unrest(stack, assets, client.stack.lucidlink.root)).toEqual([]);
}
