import { expect, test } from "vitest";
import { createCounter } from "./tally.ts";

test("what was served within a minute is handed out once, with the first request after it", () => {
  const counter = createCounter();
  expect(counter.request("r2", 1_000)).toBeNull();
  counter.bytes("r2", 10);
  counter.bytes("wasabi", 5);
  expect(counter.request("r2", 60_999)).toBeNull();
  expect(counter.request("none", 61_000)).toEqual({
    r2: { requests: 2, bytes: 10 },
    wasabi: { requests: 0, bytes: 5 },
  });
  expect(counter.request("cache", 200_000)).toEqual({ none: { requests: 1, bytes: 0 } });
});
