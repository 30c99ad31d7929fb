import { expect, test } from "vitest";
import { z } from "zod";
import { SizeBytes } from "./id.ts";
import { firstOfEachPath, issueSentence } from "./issue-sentence.ts";

const told = (schema: z.ZodType, value: unknown) =>
  firstOfEachPath(schema.safeParse(value, { error: issueSentence }).error?.issues ?? []).map(({ message }) => message);

test.each([
  [z.int(), 1.5, "must be a whole number"],
  [z.int().positive(), -1, "must be more than 0"],
  [z.number(), "1", "must be a number"],
  [z.string(), undefined, "is missing"],
  [z.string().max(3), "four", "must have at most 3 characters"],
  [z.array(z.string()).min(1), [], "must have at least 1 entry"],
  [z.enum(["a", "b"]), "c", "must be one of a, b"],
  [z.literal("a"), "c", "must be a"],
  [z.strictObject({}), { x: 1 }, "has fields that are not known: x"],
])("%#: a fault is told in words that follow the field's name", (schema, value, sentence) => {
  expect(told(schema, value)).toEqual([sentence]);
});

test("a schema's own words win", () => {
  expect(told(z.string().regex(/^a/, "must start with a"), "b")).toEqual(["must start with a"]);
});

test("a size that breaks two rules is told one", () => {
  expect(told(SizeBytes, 1e30)).toHaveLength(1);
});
