/** The grammar of keys: what builds parses back to itself, what is hostile is refused, no tier's key fits another's. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FileId, FileName, Slug } from "./id.ts";
import {
  EdgeKey,
  EditorKey,
  edgeKey,
  editorKey,
  OriginalKey,
  originalKey,
  ProxyKey,
  parseEdgeKey,
  parseEditorKey,
  parseOriginalKey,
  parseProxyKey,
  proxyKey,
} from "./key.ts";
import { QUALITIES } from "./ladder.ts";

const slug = fc.stringMatching(/^[a-z0-9][a-z0-9-]{0,62}$/);
const fileId = fc.oneof(fc.stringMatching(/^[0-9a-f]{24}$/), fc.stringMatching(/^[A-Za-z0-9_-]{8,64}$/));
const jobId = fc.stringMatching(/^[0-9a-f]{24}$/);
const quality = fc.constantFrom(...QUALITIES);
const fileName = fc
  .string({ minLength: 1, maxLength: 60, unit: "grapheme" })
  .filter((name) => FileName.safeParse(name).success)
  .map((name) => FileName.parse(name));
const owner = fc.record({ clientName: slug, projectName: slug, fileId });
const original = fc.record({ clientName: slug, projectName: slug, fileId, fileName });

describe("round trips", () => {
  test("an original's key", () => {
    fc.assert(
      fc.property(original, (file) => {
        expect(parseOriginalKey(originalKey(file))).toEqual(file);
      }),
    );
  });

  test("a proxy's key in Wasabi and its path in LucidLink, also when the file id has underscores", () => {
    fc.assert(
      fc.property(owner, quality, (file, rung) => {
        expect(parseProxyKey(proxyKey(file, rung))).toEqual({ ...file, quality: rung });
        expect(parseEditorKey(editorKey(file, rung))).toEqual({ ...file, quality: rung });
      }),
    );
  });

  test("an R2 key", () => {
    fc.assert(
      fc.property(jobId, quality, (job, rung) => {
        expect(parseEdgeKey(edgeKey(job, rung))).toEqual({ jobId: job, quality: rung });
      }),
    );
  });

  test("the spellings that were asked for", () => {
    const file = { clientName: "acme", projectName: "spring-campaign", fileId: "507f1f77bcf86cd799439011" };
    expect(originalKey({ ...file, fileName: "A001 C002 — tête.mov" })).toBe(
      "originals/acme/spring-campaign/507f1f77bcf86cd799439011/A001 C002 — tête.mov",
    );
    expect(proxyKey(file, "720p")).toBe("proxies/acme/spring-campaign/507f1f77bcf86cd799439011/720p.mp4");
    expect(edgeKey("65a1b2c3d4e5f60718293a4b", "360p")).toBe("proxies/65a1b2c3d4e5f60718293a4b/360p.mp4");
    expect(editorKey(file, "1080p")).toBe("Clients/acme/spring-campaign/507f1f77bcf86cd799439011_1080p.mp4");
  });
});

describe("no key fits another tier (Rule 1)", () => {
  const schemas = { OriginalKey, ProxyKey, EdgeKey, EditorKey };
  const fits = (key: string) =>
    Object.entries(schemas)
      .filter(([, schema]) => schema.safeParse(key).success)
      .map(([name]) => name);

  test("each key is of exactly one type", () => {
    fc.assert(
      fc.property(original, jobId, quality, (file, job, rung) => {
        expect(fits(originalKey(file))).toEqual(["OriginalKey"]);
        expect(fits(proxyKey(file, rung))).toEqual(["ProxyKey"]);
        expect(fits(edgeKey(job, rung))).toEqual(["EdgeKey"]);
        expect(fits(editorKey(file, rung))).toEqual(["EditorKey"]);
      }),
    );
  });

  test("an original named like a proxy still does not fit R2", () => {
    const file = { clientName: "proxies", projectName: "proxies", fileId: "65a1b2c3d4e5f60718293a4b" };
    expect(fits(originalKey({ ...file, fileName: "360p.mp4" }))).toEqual(["OriginalKey"]);
  });

  test("nothing that starts with originals/ fits R2 or LucidLink, whatever follows", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (rest) => {
        expect(EdgeKey.safeParse(`originals/${rest}`).success).toBe(false);
        expect(EditorKey.safeParse(`originals/${rest}`).success).toBe(false);
      }),
    );
  });
});

const job = "65a1b2c3d4e5f60718293a4b";
const hostile = [
  `proxies/${job}/../360p.mp4`,
  `proxies/../originals/${job}/360p.mp4`,
  `proxies/${job}/360p.mp4/`,
  `/proxies/${job}/360p.mp4`,
  `proxies//${job}/360p.mp4`,
  `proxies/${job}/360p.mp4\n`,
  `proxies/${job}/360p.mp4?x=1`,
  `proxies/${job}%2F360p.mp4`,
  `proxies/${job.toUpperCase()}/360p.mp4`,
  `proxies/${job}/361p.mp4`,
  `Proxies/${job}/360p.mp4`,
  `proxies/acme/../${job}aaaa/360p.mp4`,
  `proxies/acme/p%2F..%2Fq/${job}/360p.mp4`,
  `proxies/Acme/p/${job}/360p.mp4`,
  `Clients/acme/../${job}_360p.mp4`,
  `Clients/acme/p/${job}_360p.mp4/..`,
  `Clients\\acme\\p\\${job}_360p.mp4`,
  `originals/acme/p/${job}/..`,
  `originals/acme/p/${job}/.`,
  `originals/acme/p/${job}/`,
  `originals/acme/p/${job}/a/b.mov`,
  `originals/acme/p/${job}/a\\b.mov`,
  `originals/acme/p/${job}/a\u0000.mov`,
  `originals/acme/p/${job}/e\u0301.mov`,
  `originals/acme/p/${job}/\ud800.mov`,
  "",
];

test.each(hostile)("%j is no key of any tier", (key) => {
  for (const schema of [OriginalKey, ProxyKey, EdgeKey, EditorKey]) expect(schema.safeParse(key).success).toBe(false);
  for (const parse of [parseOriginalKey, parseProxyKey, parseEdgeKey, parseEditorKey]) expect(parse(key)).toBeNull();
});

test("an encoded slash in a file name is three harmless characters, not a folder", () => {
  const file = { clientName: "acme", projectName: "p", fileId: job, fileName: "a%2F..%2Fb.mov" };
  expect(parseOriginalKey(originalKey(file))?.fileName).toBe("a%2F..%2Fb.mov");
});

describe("names", () => {
  test.each(["Acme", "a b", "-acme", "", "a_b", "été", "a/b", "..", "a".repeat(64), "acme\n"])(
    "%j is refused as a client's name, not rewritten",
    (name) => {
      expect(Slug.safeParse(name).success).toBe(false);
      expect(() => proxyKey({ clientName: name, projectName: "p", fileId: job }, "360p")).toThrow();
    },
  );

  test("a slug that is accepted is kept as it is", () => {
    fc.assert(
      fc.property(slug, (name) => {
        expect(Slug.parse(name)).toBe(name);
      }),
    );
  });

  test.each(["short", "a".repeat(65), "has space", "a/b/c/d/e", "../../../x", "12345678\n"])(
    "%j is refused as a file id",
    (id) => expect(FileId.safeParse(id).success).toBe(false),
  );

  test("both spellings of an accent are one file name", () => {
    expect(FileName.parse("te\u0302te.mov")).toBe("t\u00eate.mov");
    const file = { clientName: "acme", projectName: "p", fileId: job };
    const names = ["te\u0302te.mov", "t\u00eate.mov"].map((name) => FileName.parse(name));
    expect(new Set(names.map((fileName) => originalKey({ ...file, fileName }))).size).toBe(1);
  });

  test("a file name may have 255 bytes in UTF-8, not 256", () => {
    expect(FileName.parse(`${"é".repeat(127)}x`)).toHaveLength(128);
    expect(FileName.safeParse("é".repeat(128)).success).toBe(false);
    expect(FileName.parse("a".repeat(255))).toHaveLength(255);
    expect(FileName.safeParse("a".repeat(256)).success).toBe(false);
  });

  test("the limit counts the bytes that are stored: after NFC", () => {
    expect(FileName.parse("e\u0301".repeat(127))).toBe("\u00e9".repeat(127));
  });

  test.each(["", ".", "..", "a/b", "a\\b", "a\u0000b", "a\nb", "a\u007fb", "a\u0085b", "\ud800"])(
    "%j is refused as a file name",
    (name) => expect(FileName.safeParse(name).success).toBe(false),
  );

  test("whatever is accepted is kept but for NFC", () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1, maxLength: 300, unit: "binary" }), (name) => {
        const parsed = FileName.safeParse(name);
        if (parsed.success) expect(parsed.data).toBe(name.normalize("NFC"));
      }),
    );
  });
});
