import { expect, test } from "vitest";
import { createCounter } from "./tally.ts";

test("what was counted for a minute is handed out once", () => {
  const counter = createCounter();
  expect(counter.due(1_000)).toBeNull();
  counter.request("r2", 1_000);
  counter.bytes("r2", 10, 2_000);
  counter.bytes("wasabi", 5, 3_000);
  expect(counter.due(60_999)).toBeNull();
  expect(counter.due(61_000)).toEqual({ r2: { requests: 1, bytes: 10 }, wasabi: { requests: 0, bytes: 5 } });
  expect(counter.due(200_000)).toBeNull();
});

test("a lone viewing is handed out where it ends, many of them once a minute", () => {
  const counter = createCounter();
  counter.request("r2", 1_000);
  counter.bytes("r2", 10, 1_500);
  expect(counter.ended("r2", 2_000)).toEqual({ r2: { requests: 1, bytes: 10 } });
  expect(counter.ended("r2", 90_000)).toBeNull();
  counter.request("r2", 90_000);
  expect(counter.ended("r2", 90_001)).toEqual({ r2: { requests: 1, bytes: 0 } });
  counter.request("r2", 90_002);
  expect(counter.ended("r2", 150_000)).toBeNull();
  expect(counter.ended("r2", 150_001)).toEqual({ r2: { requests: 1, bytes: 0 } });
});

test("what Wasabi served waits ten seconds at most for the end of its response", () => {
  const counter = createCounter();
  counter.request("wasabi", 0);
  expect(counter.ended("wasabi", 0)).not.toBeNull();
  counter.bytes("wasabi", 7, 1_000);
  expect(counter.ended("wasabi", 9_999)).toBeNull();
  expect(counter.ended("wasabi", 10_000)).toEqual({ wasabi: { requests: 0, bytes: 7 } });
});

test("what could not be recorded is handed out again with the next", () => {
  const counter = createCounter();
  counter.request("r2", 0);
  const lost = counter.ended("r2", 0) ?? {};
  counter.bytes("r2", 3, 1_000);
  counter.putBack({ ...lost, none: { requests: 2, bytes: 0 } }, 2_000);
  expect(counter.due(60_999)).toBeNull();
  expect(counter.due(61_000)).toEqual({ r2: { requests: 1, bytes: 3 }, none: { requests: 2, bytes: 0 } });
});
