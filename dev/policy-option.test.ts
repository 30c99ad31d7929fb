import { expect, test } from "vitest";
import { impatientPolicy } from "./fault-policy.ts";
import { readPolicyOption } from "./policy-option.ts";

test("overrides come back as given, without the defaults", () => {
  expect(readPolicyOption('{"leaseMs":10000}')).toEqual({ leaseMs: 10_000 });
  expect(readPolicyOption(JSON.stringify(impatientPolicy))).toEqual(impatientPolicy);
});

test.each([
  ['{"leaseMs":-1}', "leaseMs must be more than 0"],
  ['{"leaseMs":1.5}', "leaseMs must be a whole number"],
  ['{"transferWindow":17}', "transferWindow must be at most 16"],
  ['{"placement":{"edgeQualities":["8k"]}}', "placement.edgeQualities[0] must be one of 360p, 540p"],
  ['{"retentionDays":{"360p":1}}', "retentionDays.540p is missing"],
  ['{"ladder":{"rungs":[]}}', "ladder.rungs must have at least 1 entry"],
  ['{"ladder":{"audioBitrateBps":1}}', "ladder.audioBitrateBps must be at least 32000"],
  ['{"ladder":{"fps":30}}', "ladder has fields that are not known: fps"],
  ['{"leaseMS":1}', "it has fields that are not known: leaseMS"],
  ["[1]", "--policy takes a JSON object, not [1]"],
  ["{leaseMs", "--policy takes a JSON object, not {leaseMs"],
])("%s is refused with what is allowed", (text, sentence) => {
  expect(() => readPolicyOption(text)).toThrow(sentence);
});
