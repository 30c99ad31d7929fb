import { expect, test } from "vitest";
import { sourceProbe } from "../../../schemas/source-probe-sample.ts";
import { passArguments, passTimeoutMs } from "./damage-pass.ts";

test("the pass ends after a whole number of milliseconds, however long the film", () => {
  expect(passTimeoutMs({ durationSeconds: 2.021_333 })).toBe(308_086);
});

test("each track is copied and decoded, and nothing else is read", () => {
  const dialect = { frameRateModeOption: "-fps_mode" } as const;
  const args = passArguments({ source: sourceProbe(), dialect, url: "http://127.0.0.1:1/a" }, ["-x"], [0, 2]).join(" ");
  expect(args).toContain(" -x -protocol_whitelist http,tcp -format_whitelist ");
  expect(args).toContain("-map 0:V:0 -map 0:V:0 -map 0:a:0 -map 0:a:0 -map 0:a:2 -map 0:a:2 -c:v:0 copy -copyinkf ");
  expect(args).toContain("-c:a:0 copy -c:a:1 pcm_s16le -c:a:2 copy -c:a:3 pcm_s16le -fps_mode passthrough ");
});
