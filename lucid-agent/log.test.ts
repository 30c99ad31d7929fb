import { expect, test } from "vitest";
import { createLog } from "./log.ts";

test("tokens, secrets and query strings never reach a line, and the line stays JSON", () => {
  let line = "";
  const log = createLog("info", {
    write(text) {
      line += text;
    },
  });
  const error = new Error('GET "https://s3.test/b/k.mp4?X-Amz-Signature=hush1&X-Amz-Date=hush2" was cut');
  log.error(
    { err: error, authorization: "Bearer hush3", secret: "whsec_aHVzaDQ=" },
    'said "https://a.test/?sig=hush5"',
  );
  const told = JSON.parse(line);
  expect(line).not.toMatch(/hush|aHVzaDQ/);
  expect(told.err.message).toBe('GET "https://s3.test/b/k.mp4?[redacted]" was cut');
  expect(told.msg).toBe('said "https://a.test/?[redacted]"');
});
