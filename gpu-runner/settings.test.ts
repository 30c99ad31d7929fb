import { expect, test } from "vitest";
import { RunnerId } from "../schemas/runner-protocol.ts";
import { defaultRunnerId, forgetSecrets, helpText, readSettings, SettingsError } from "./settings.ts";

const env = {
  MMF_API_URL: "https://api.example/",
  MMF_RUNNER_TOKEN: "runner-token",
};

function problemOf(args: string[], variables: NodeJS.ProcessEnv): string {
  try {
    readSettings(args, variables);
  } catch (error) {
    if (error instanceof SettingsError) return error.message;
    throw error;
  }
  return "no problem";
}

test("defaults need two variables and no flag", () => {
  expect(readSettings([], env)).toMatchObject({
    apiUrl: "https://api.example",
    encoder: "auto",
    decode: "auto",
    once: false,
    drain: false,
    rushOnly: false,
    hasOldPullToken: false,
    concurrency: 1,
    health: null,
    exitWithParent: false,
  });
});

test("flags and variables are read", () => {
  const args = [
    "--once",
    "--rush-only",
    "--concurrency",
    "2",
    "--poll-ms",
    "100",
    "--log-level",
    "debug",
    "--health-port",
    "0",
  ];
  expect(
    readSettings(args, { ...env, MMF_RUNNER_ID: "r1", FFMPEG_ENCODER: "x264", MMF_EXIT_WITH_PARENT: "1" }),
  ).toMatchObject({
    once: true,
    rushOnly: true,
    concurrency: 2,
    pollMs: 100,
    logLevel: "debug",
    health: { port: 0, host: "127.0.0.1" },
    runnerId: "r1",
    encoder: "x264",
    exitWithParent: true,
  });
});

test("every wrong setting is named at once, and no value is quoted", () => {
  const problem = problemOf(["--concurrency", "many"], {
    MMF_API_URL: "ftp://user:hunter2@host",
    MMF_RUNNER_TOKEN: "",
    FFMPEG_ENCODER: "hunter2",
  });
  for (const name of ["--concurrency", "MMF_API_URL", "MMF_RUNNER_TOKEN: is not set", "FFMPEG_ENCODER"]) {
    expect(problem).toContain(name);
  }
  expect(problem).not.toContain("hunter2");
});

test("a number must be one, and within its bounds", () => {
  for (const text of ["", " ", "many", "1.5", "-1", "0x10", "1e1", "17"]) {
    expect(problemOf([`--concurrency=${text}`], env)).toBe("--concurrency: must be a whole number from 1 to 16");
  }
  expect(problemOf(["--health-port="], env)).toBe("--health-port: must be a whole number from 0 to 65535");
});

test("an address must be one, without a query string or a user", () => {
  for (const url of ["nonsense", "ftp://host", "https://user:hunter2@host", "https://host/?token=hunter2"]) {
    expect(problemOf([], { ...env, MMF_API_URL: url })).toMatch(/^MMF_API_URL: /);
  }
});

test("a token of the queues that is left over is told, and passed on to nobody", () => {
  const left: NodeJS.ProcessEnv = { ...env, MMF_PULL_TOKEN: "old-pull-token" };
  expect(readSettings([], left)).toMatchObject({ hasOldPullToken: true });
  forgetSecrets(left);
  expect(left).toEqual({ MMF_API_URL: env.MMF_API_URL });
});

test("one job and every job cannot both be asked for", () => {
  expect(problemOf(["--once", "--drain"], env)).toBe("--drain: does not go together with --once");
});

test("secrets are no flags, and unknown flags are refused", () => {
  expect(problemOf(["--runner-token", "x"], env)).toMatch(/Unknown option/);
  expect(problemOf(["--nope"], env)).toMatch(/Unknown option/);
});

test("help names every variable and needs none", () => {
  expect(readSettings(["--help"], {})).toBeNull();
  for (const name of Object.keys(env)) expect(helpText).toContain(name);
});

test("any host name makes a valid runner id", () => {
  for (const host of ["", "gpu_01.example.org", "ü".repeat(80), "a".repeat(200)]) {
    expect(RunnerId.safeParse(defaultRunnerId(host, "abc123")).success).toBe(true);
  }
});
