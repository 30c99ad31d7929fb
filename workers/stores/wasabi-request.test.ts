/** What a refusal means is told by its body: one that breaks off on the way means nothing yet. */
import { expect, test } from "vitest";
import { refusalOf } from "./wasabi-request.ts";

const refusal = (status: number, text: string, breaksOff: boolean) => {
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      controller.enqueue(new TextEncoder().encode(text));
      if (breaksOff) controller.error(new Error("Network connection lost."));
      else controller.close();
    },
  });
  return refusalOf({ bucket: "archive" }, "a GET", new Response(body, { status }));
};

test.each([403, 404, 400])("a %i whose body breaks off is tried again", async (status) => {
  expect(await refusal(status, "<Error><Code>Request", true)).toMatchObject({
    code: "WASABI_UNAVAILABLE",
    retryable: true,
  });
});

test("whole, it means what it says, and without a body what its status says", async () => {
  const limited = "<Error><Code>RequestRateLimitExceeded</Code></Error>";
  expect(await refusal(403, limited, false)).toMatchObject({ code: "WASABI_UNAVAILABLE" });
  expect(await refusal(403, "<Error><Code>AccessDenied</Code></Error>", false)).toMatchObject({
    code: "WASABI_FORBIDDEN",
  });
  expect(await refusal(404, "<Error><Code>NoSuchKey</Code></Error>", false)).toMatchObject({
    code: "ORIGINAL_MISSING",
  });
  expect(await refusal(404, "", false)).toMatchObject({ code: "WASABI_UNAVAILABLE" });
});
