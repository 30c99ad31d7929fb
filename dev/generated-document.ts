/** The documents that are written from the code. `npm run docs` writes them; a test fails when a committed one is stale. */
import { failureDocument } from "./failure-document.ts";
import { inputDocument } from "./input-document.ts";
import { openApiText } from "./open-api-document.ts";
import { stateMachineDocument } from "./state-machine-document.ts";

export interface GeneratedDocument {
  /** Relative to the repository's root. */
  readonly path: string;
  /** The whole file, ending in a newline; the same text every time for the same code. */
  generate(): string | Promise<string>;
}

export const generatedDocuments: readonly GeneratedDocument[] = [
  { path: "docs/state-machine.md", generate: stateMachineDocument },
  { path: "docs/failures.md", generate: failureDocument },
  { path: "docs/inputs.md", generate: inputDocument },
  { path: "docs/openapi.json", generate: openApiText },
];
