import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { ConfigError, readConfig } from "./config.ts";

const secrets = {
  LUCID_AGENT_TOKEN: "a-bearer-token-only-for-tests",
  LUCID_AGENT_CALLBACK_SECRET: `whsec_${Buffer.alloc(32, 7).toString("base64")}`,
};

test("flags win over the environment, and empty variables count as absent", () => {
  const env = { ...secrets, LUCID_AGENT_ROOT: "/srv/a", LUCID_AGENT_PORT: "9000", LUCID_AGENT_PROBE: "" };
  const config = readConfig(["--root", "/srv/b"], env);
  expect(config).toMatchObject({ root: "/srv/b", port: 9000, host: "127.0.0.1", probe: { kind: "plain" } });
  expect(config?.callbackKey.equals(Buffer.alloc(32, 7))).toBe(true);
});

test("with LucidLink a mount is required unless said otherwise; without, only when said", () => {
  const root = ["--root", "/srv/a"];
  expect(readConfig([...root, "--probe", "lucid"], secrets)?.mountPoint).toBe("/srv/a");
  expect(readConfig([...root, "--probe", "lucid", "--mount-point", "/srv"], secrets)?.mountPoint).toBe("/srv");
  expect(readConfig([...root, "--probe", "lucid", "--require-mount", "false"], secrets)?.mountPoint).toBeNull();
  expect(readConfig(root, secrets)?.mountPoint).toBeNull();
  expect(readConfig([...root, "--require-mount", "true"], secrets)?.mountPoint).toBe("/srv/a");
});

test("each root has its own state directory unless one is given; never within the root", () => {
  const stateOf = (root: string, env = {}) =>
    readConfig(["--root", root], { ...secrets, HOME: "/h", ...env })?.stateDir;
  expect(stateOf("/srv/a")).not.toBe(stateOf("/srv/b"));
  expect(stateOf("/srv/a", { STATE_DIRECTORY: "/var/lib/lucid-agent" })).toBe("/var/lib/lucid-agent");
  expect(() => readConfig(["--root", "/srv/a", "--state-dir", "/srv/a/.state"], secrets)).toThrow(ConfigError);
});

test.each([
  ["a short token", { LUCID_AGENT_TOKEN: "short" }, "LUCID_AGENT_TOKEN"],
  ["a secret of another kind", { LUCID_AGENT_CALLBACK_SECRET: "plain" }, "LUCID_AGENT_CALLBACK_SECRET"],
  ["a callback that is no URL", { LUCID_AGENT_CALLBACK_URL: "nowhere" }, "--callback-url"],
])("%s is refused by name", (_name, env, named) => {
  expect(() => readConfig([], { ...secrets, ...env })).toThrow(named);
});

test("without its secrets every one that is missing is told, in words", () => {
  expect(() => readConfig([], {})).toThrow(/^LUCID_AGENT_TOKEN is missing\nLUCID_AGENT_CALLBACK_SECRET is missing$/);
});

test("started without settings, it points to its help", () => {
  const main = fileURLToPath(new URL("main.ts", import.meta.url));
  const { status, stderr } = spawnSync(process.execPath, [main], { env: {}, encoding: "utf8" });
  expect(status).toBe(2);
  expect(stderr).toContain("LUCID_AGENT_TOKEN is missing");
  expect(stderr).toContain("See node lucid-agent/main.ts --help");
});
