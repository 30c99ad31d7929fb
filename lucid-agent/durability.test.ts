import { expect, test } from "vitest";
import { lucidStatusCommand, nothingRemains } from "./durability.ts";

test("the command names the instance only where there is one", () => {
  expect(lucidStatusCommand({ binary: "lucid", instanceId: null })).toEqual({ file: "lucid", args: ["status"] });
  expect(lucidStatusCommand({ binary: "/usr/bin/lucid", instanceId: "501" })).toEqual({
    file: "/usr/bin/lucid",
    args: ["--instance", "501", "status"],
  });
});

test.each([
  ["Client state: Linked\nRemaining upload: 0B\n", true],
  ["Remaining upload:   0 bytes", true],
  ["  Remaining upload = 0.0 KiB", true],
  ["Remaining upload: 1 B", false],
  ["Remaining upload: 0.5 GiB", false],
  ["Remaining upload: 1,024 bytes", false],
  ["Remaining upload: unknown", null],
  ["Client state: Unlinked", null],
  ["", null],
])("%j → %s", (output, answer) => {
  expect(nothingRemains(output)).toBe(answer);
});
