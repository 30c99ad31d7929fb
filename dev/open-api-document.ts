/** docs/openapi.json: what a deployment answers at /openapi.json, from the same route table. */
const publicUrl = "https://media.example.com";

export async function openApiText(): Promise<string> {
  // Not a literal: the worker's sources have types of their own and would be checked here with Node's.
  const workerSide = new URL("./open-api-worker.ts", import.meta.url).href;
  const { describeApi } = (await import(workerSide)) as { describeApi(publicUrl: string): unknown };
  return `${JSON.stringify(describeApi(publicUrl), null, 2)}\n`;
}
