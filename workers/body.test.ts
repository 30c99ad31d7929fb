/** Bodies that are too large, that stall, or whose sender hangs up: each is refused, and none is an error of ours. */
import { afterEach, expect, test, vi } from "vitest";
import { call, origin, problemOf, token } from "../test/door-worker.ts";
import { MAX_BODY_BYTES, readBody } from "./body.ts";
import { problemResponse, requestFacts } from "./problem.ts";

afterEach(() => {
  vi.restoreAllMocks();
});

/** Sent in pieces, without Content-Length. */
function chunked(sizeBytes: number): ReadableStream<Uint8Array> {
  let left = sizeBytes;
  return new ReadableStream({
    pull(controller) {
      const chunk = new Uint8Array(Math.min(left, 64 * 1024)).fill(32);
      left -= chunk.length;
      if (chunk.length > 0) controller.enqueue(chunk);
      if (left === 0) controller.close();
    },
  });
}

const post = (body: ReadableStream<Uint8Array>) =>
  new Request(new URL("/v1/webhooks/upload", origin), { method: "POST", body });

async function refusalOf(work: Promise<unknown>): Promise<Response> {
  const facts = requestFacts(new Request(origin));
  return work.then(
    () => Promise.reject(new Error("it was taken")),
    (thrown) => problemResponse(thrown, facts),
  );
}

const admin = await token("admin");
const viewer = await token("viewer");

test.each([
  ["POST", "/v1/tickets", viewer],
  ["POST", "/v1/admin/assets/never-was-0001/retry", admin],
  ["POST", "/v1/admin/assets/never-was-0001/cancel", admin],
])("%s %s, which reads no body, refuses one above the limit", async (method, path, bearer) => {
  const over = MAX_BODY_BYTES + 1;
  for (const body of [new Uint8Array(over), chunked(over)]) {
    const problem = await problemOf(await call(path, { method, token: bearer, body }));
    expect(problem).toMatchObject({ status: 413, code: "PAYLOAD_TOO_LARGE" });
  }
  const taken = await call(path, { method, token: bearer, body: chunked(MAX_BODY_BYTES) });
  expect(taken.status).not.toBe(413);
});

test("a caller that hangs up in mid-body leaves no line in the log of errors", async () => {
  const logged = vi.spyOn(console, "error").mockImplementation(() => undefined);
  const hangingUp = new ReadableStream<Uint8Array>({
    start(controller) {
      controller.enqueue(new Uint8Array(10));
    },
    pull(controller) {
      controller.error(new Error("Network connection lost."));
    },
  });
  const response = await refusalOf(readBody(post(hangingUp)));
  expect(response.status).toBe(400);
  expect(logged).not.toHaveBeenCalled();
});

test("a body that stalls is 408, and leaves no line in the log of errors", async () => {
  const logged = vi.spyOn(console, "error").mockImplementation(() => undefined);
  let cancelled = false;
  const stalling = new ReadableStream<Uint8Array>({
    start(controller) {
      controller.enqueue(new Uint8Array(10));
    },
    cancel() {
      cancelled = true;
    },
  });
  const response = await refusalOf(readBody(post(stalling), 50));
  expect(await problemOf(response)).toMatchObject({ status: 408, code: "REQUEST_TIMEOUT" });
  expect(logged).not.toHaveBeenCalled();
  await expect.poll(() => cancelled).toBe(true);
});
