import { expect, test } from "vitest";
import { textWithin } from "./deadline.ts";

const limits = { limitBytes: 16, timeoutMs: 20 };

test("an answer that never ends is given up, and its connection with it", async () => {
  const { promise: cancelled, resolve } = Promise.withResolvers<void>();
  const silent = new ReadableStream({ cancel: () => resolve() });
  await expect(textWithin(new Response(silent), limits)).rejects.toMatchObject({ name: "TimeoutError" });
  await cancelled;
});

test("an answer without end is read to its limit, and a small one whole", async () => {
  const chunk = new TextEncoder().encode("0123456789");
  const endless = new ReadableStream({ pull: (controller) => controller.enqueue(chunk) });
  expect(await textWithin(new Response(endless), limits)).toBe("01234567890123456789");
  expect(await textWithin(new Response("ünder"), limits)).toBe("ünder");
  expect(await textWithin(new Response(null), limits)).toBe("");
});
