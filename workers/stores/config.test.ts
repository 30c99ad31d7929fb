import { expect, test } from "vitest";
import { testBindings } from "../../test/bindings.ts";
import { ConfigError, parseConfig } from "./config.ts";

test("reads the settings, with keys as bytes and the policy's defaults", () => {
  const config = parseConfig(testBindings);
  expect(config.publicUrl).toBe("https://media.test");
  expect(config.jwtKeys[0].kid).toBe("test-jwt");
  expect(config.jwtKeys[0].secret).toHaveLength(48);
  expect(config.uploadWebhookSecret).toHaveLength(48);
  expect(config.policy.placement).toEqual({
    edgeQualities: ["360p", "540p"],
    lucidlink: true,
  });
});

test("without an agent nothing is wanted in LucidLink", () => {
  const config = parseConfig({
    ...testBindings,
    LUCID_AGENT_URL: "",
    APP_WEBHOOK_URL: "",
  });
  expect(config.lucidAgent).toBeNull();
  expect(config.appWebhook).toBeNull();
  expect(config.policy.placement.lucidlink).toBe(false);
});

test.each([
  ["PUBLIC_URL", "media.example.com"],
  ["UPLOAD_WEBHOOK_SECRET", "hunter2-hunter2-hunter2-hunter2"],
  ["UPLOAD_WEBHOOK_SECRET", "whsec_c2hvcnQ="],
  ["JWT_KEYS", "{not json"],
  ["JWT_KEYS", "{}"],
  ["JWT_KEYS", '{"main":"hunter2"}'],
  ["PLAYBACK_KEYS", `{"1":"${"A".repeat(43)}"}`],
  ["POLICY", '{"leaseMs":-1}'],
  ["CLOCK_OFFSET_MS", "tomorrow"],
  ["POLICY.ladder.maxFps", '{"ladder":{"maxFps":0}}'],
  [
    "POLICY.ladder.rungs.0.crf",
    '{"ladder":{"rungs":[{"quality":"360p","shortSidePx":360,"maxRateBps":800000,"crf":99,"cq":23}]}}',
  ],
] as const)("refuses a bad %s by name, without telling its value", (field, value) => {
  const attempt = () => parseConfig({ ...testBindings, [field.split(".")[0] ?? ""]: value });
  expect(attempt).toThrow(ConfigError);
  expect(attempt).toThrow(field);
  expect(attempt).not.toThrow(/hunter2|c2hvcnQ/);
});

test("the clock of decisions stays put in production", () => {
  const moved = { ...testBindings, CLOCK_OFFSET_MS: "86400000" };
  expect(() => parseConfig(moved)).not.toThrow();
  expect(() => parseConfig({ ...moved, ENVIRONMENT: "production" })).toThrow("CLOCK_OFFSET_MS");
});

test("the first key signs", () => {
  const key = "A".repeat(43);
  const config = parseConfig({
    ...testBindings,
    PLAYBACK_KEYS: `{"new":"${key}","old":"${key}"}`,
  });
  expect(config.playbackKeys.map(({ kid }) => kid)).toEqual(["new", "old"]);
});
