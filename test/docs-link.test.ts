/** Links within the documentation lead somewhere: to a file that is there, and to a heading that it has. */
import { readdir, readFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));
const pages = ["README.md", ...(await readdir(join(root, "docs"))).map((name) => `docs/${name}`)].filter((path) =>
  path.endsWith(".md"),
);

/** As GitHub makes them; and those written by hand. */
function anchorsOf(markdown: string): Set<string> {
  const headings = [...markdown.matchAll(/^#{1,6} (.+)$/gm)].map(([, text = ""]) =>
    text
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, "")
      .replaceAll(" ", "-"),
  );
  const named = [...markdown.matchAll(/<a id="([^"]+)">/g)].map(([, id = ""]) => id);
  return new Set([...headings, ...named]);
}

async function fault(page: string, link: string): Promise<string | null> {
  const [path = "", anchor] = link.split("#");
  const target = path === "" ? page : relative(root, join(root, dirname(page), path));
  const text = await readFile(join(root, target), "utf8").catch(() => null);
  if (text === null) return `${link}: there is no ${target}`;
  return anchor === undefined || anchorsOf(text).has(anchor) ? null : `${link}: ${target} has no such heading`;
}

test.each(pages)("%s links to what is there", async (page) => {
  const text = (await readFile(join(root, page), "utf8")).replace(/```[\s\S]*?```/g, "");
  const links = [...text.matchAll(/\]\(([^)\s]+)\)/g)].map(([, link = ""]) => link);
  const inside = links.filter((link) => !/^[a-z]+:/.test(link));
  const faults = await Promise.all(inside.map((link) => fault(page, link)));
  expect(faults.filter((found) => found !== null)).toEqual([]);
});
