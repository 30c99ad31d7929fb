import { expect, test } from "vitest";
import { type DamagedStretch, describeDamage } from "./source-damage.ts";

const stretch = (what: DamagedStretch["what"], fromSeconds: number, toSeconds: number): DamagedStretch => ({
  ...{ what, fromSeconds, toSeconds },
  missingSeconds: toSeconds - fromSeconds,
});

test("how much is missing, and where, in words", () => {
  expect(describeDamage([stretch("picture", 3.28, 4.24)], 8)).toBe(
    "0.96 of 8 seconds of the picture do not decode (3.28–4.24 s): the proxies show the last good picture there.",
  );
  expect(describeDamage([stretch("sound", 1, 2.5)], null)).toBe(
    "1.5 seconds of the sound do not decode (1–2.5 s): the proxies are silent there.",
  );
  const many = Array.from({ length: 12 }, (_, i) => stretch("picture", i * 10, i * 10 + 1));
  expect(describeDamage([...many, stretch("sound", 5, 6)], 120)).toBe(
    "12 of 120 seconds of the picture do not decode (0–1 s, 10–11 s, 20–21 s, 9 more): " +
      "the proxies show the last good picture there. " +
      "1 of 120 seconds of the sound do not decode (5–6 s): the proxies are silent there.",
  );
});
