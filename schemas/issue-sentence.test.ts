import { expect, test } from "vitest";
import { z } from "zod";
import { SizeBytes } from "./id.ts";
import { firstOfEachPath, inBrief, issueSentence } from "./issue-sentence.ts";

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

test("a refusal names twenty fields and quotes nothing long, whatever it was sent", () => {
  const errors = Array.from({ length: 30_000 }, (_, n) => ({
    path: `data.${"😀".repeat(500)}${n}`,
    message: "x".repeat(9_999),
  }));
  const told = inBrief("y".repeat(9_999), errors);
  expect(told.errors).toHaveLength(20);
  expect(told.detail).toMatch(/30000 fields are wrong; the first 20 are named\.$/);
  expect(JSON.stringify(told).length).toBeLessThan(20_000);
  expect(JSON.stringify(told).isWellFormed()).toBe(true);
  expect(JSON.stringify(told)).not.toMatch(/\\ud/);
});

test("what is short is told as it is", () => {
  const errors = [{ path: "data.sizeBytes", message: "is missing" }];
  expect(inBrief("The request's body is not valid.", errors)).toEqual({
    detail: "The request's body is not valid.",
    errors,
  });
});
