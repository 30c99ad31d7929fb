import { expect, test } from "vitest";
import { describeDamage } from "./source-damage.ts";

test("damage is told in a sentence, with how much and where", () => {
  const picture = { fromSeconds: 62.5, toSeconds: 64, what: "picture" } as const;
  expect(describeDamage([picture])).toBe("The original is damaged: 1.5 s of picture at 1:02 cannot be decoded.");
  const sound = { fromSeconds: 3_725, toSeconds: 3_726, what: "sound" } as const;
  expect(describeDamage([picture, sound, { ...sound, fromSeconds: 3_725.5 }])).toBe(
    "The original is damaged: 1.5 s of picture at 1:02, and 1.5 s of sound in 2 places, first at 1:02:05 cannot be decoded.",
  );
});
