import { expect, test } from "vitest";
import { testBindings } from "../../test/bindings.ts";
import { ConfigError, parseConfig } from "./config.ts";

test("reads the settings, with keys as bytes and the policy's defaults", () => {
  const config = parseConfig(testBindings);
  expect(config.publicUrl).toBe("https://media.test");
  expect(config.jwtKeys[0].kid).toBe("test-jwt");
  expect(config.jwtKeys[0].secret).toHaveLength(48);
  expect(config.uploadKeys).toMatchObject([{ kid: "default", clients: "*" }]);
  expect(config.uploadKeys[0]?.secret).toHaveLength(48);
  expect(config.policy.placement).toEqual({
    edgeQualities: ["360p", "540p"],
    lucidlink: true,
  });
});

const secret = testBindings.UPLOAD_WEBHOOK_SECRET;

test("once there are keys by client, the one for all is not read", () => {
  const keys = { acme: { secret, clients: ["acme"] }, "acme.2027": { secret, clients: ["acme"] } };
  const config = parseConfig({ ...testBindings, UPLOAD_WEBHOOK_KEYS: JSON.stringify(keys) });
  expect(config.uploadKeys.map(({ kid }) => kid)).toEqual(["acme", "acme.2027"]);
});

test.each(["originals/acme", "/originals/acme/", "/", "", "a//b/", "incoming/../", "./", "incoming/\ud83d/"])(
  "a source prefix must be a folder: %j is none",
  (prefix) => {
    const keys = { acme: { secret, clients: ["acme"], sourcePrefixes: [prefix] } };
    const attempt = () => parseConfig({ ...testBindings, UPLOAD_WEBHOOK_KEYS: JSON.stringify(keys) });
    expect(attempt).toThrow("UPLOAD_WEBHOOK_KEYS.acme.sourcePrefixes.0");
  },
);

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
  ["UPLOAD_WEBHOOK_KEYS", "{}"],
  ["UPLOAD_WEBHOOK_KEYS.acme.secret", '{"acme":{"secret":"hunter2","clients":["acme"]}}'],
  ["UPLOAD_WEBHOOK_KEYS.acme.clients", `{"acme":{"secret":"${testBindings.UPLOAD_WEBHOOK_SECRET}"}}`],
  ["JWT_KEYS", "{not json"],
  ["JWT_KEYS", "{}"],
  ["JWT_KEYS", '{"main":"hunter2"}'],
  ["PLAYBACK_KEYS", `{"1":"${"A".repeat(43)}"}`],
  ["POLICY", '{"leaseMs":-1}'],
  ["POLICY.ladder.maxFps", '{"ladder":{"maxFps":0}}'],
  [
    "POLICY.ladder.rungs.0.crf",
    '{"ladder":{"rungs":[{"quality":"360p","shortSidePx":360,"maxRateBps":800000,"crf":99,"cq":23}]}}',
  ],
  ["CLOCK_OFFSET_MS", "tomorrow"],
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
