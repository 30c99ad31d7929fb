/** A document that no longer says what the code does fails here. */
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { failureFacts } from "../schemas/failure.ts";
import { failureDocument } from "./failure-document.ts";
import { generatedDocuments } from "./generated-document.ts";
import { machineSection } from "./state-machine-document.ts";

test.each(generatedDocuments)("$path is what the code generates (else: npm run docs)", async ({ path, generate }) => {
  const committed = await readFile(fileURLToPath(new URL(`../${path}`, import.meta.url)), "utf8");
  expect(committed).toBe(await generate());
});

test("each path is generated once", () => {
  const paths = generatedDocuments.map(({ path }) => path);
  expect(new Set(paths).size).toBe(paths.length);
});

const open = { name: "open", says: "It opens | creaking.", to: ["ajar", "shut"] };
const ignore = { name: "ignore", says: "Nothing changes.", to: [] };
const door = machineSection({
  title: "Door",
  says: "A door.",
  initial: "shut",
  final: ["ajar"],
  table: { shut: { Pushed: open, Pulled: ignore }, ajar: { Pushed: ignore, Pulled: ignore } },
});

test("a machine's section shows every cell by its rule's name", () => {
  expect(door).toContain("| `Pushed` | [open](#door-open) | · |");
  expect(door).toContain("| `Pulled` | · | · |");
});

test("a machine's diagram draws where each rule leads, without staying", () => {
  const diagram = /```mermaid\n([\s\S]*?)```/.exec(door)?.[1];
  expect(diagram).toBe("stateDiagram-v2\n  direction LR\n  [*] --> shut\n  shut --> ajar : Pushed\n  ajar --> [*]\n");
});

test("a machine's rules are listed once, with their sentence and where they apply; bars do not break the table", () => {
  expect(door).toContain(
    '| <a id="door-open"></a>`open` | `shut` on `Pushed` | `ajar`, `shut` | It opens \\| creaking. |',
  );
  expect(door.match(/<a id=/g)).toHaveLength(1);
});

test("every failure code has its row", () => {
  const document = failureDocument();
  for (const [code, { title }] of Object.entries(failureFacts))
    expect(document).toContain(`| \`${code}\` | ${title} |`);
});
