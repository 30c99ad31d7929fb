/** `npm run docs`: writes every generated document, and says which of them changed. */
import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { generatedDocuments } from "./generated-document.ts";

for (const { path, generate } of generatedDocuments) {
  const file = fileURLToPath(new URL(`../${path}`, import.meta.url));
  const before = await readFile(file, "utf8").catch(() => null);
  const after = await generate();
  if (after !== before) await writeFile(file, after);
  console.log(`${after === before ? "unchanged" : "written  "}  ${path}`);
}
