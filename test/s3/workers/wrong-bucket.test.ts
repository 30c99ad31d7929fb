/** A HEAD has no body, so that a bucket which is not there looks like an object which is not there. */
import { expect, test } from "vitest";
import { wasabiStore } from "../../../workers/stores/wasabi.ts";
import { localWasabiConfig } from "../../local-wasabi-worker.ts";

const config = localWasabiConfig();

test("a bucket that is not there is forbidden and named; an object that is not there is missing", async () => {
  const elsewhere = wasabiStore({ ...config, bucket: "no-such-archive" });
  await expect(elsewhere.head("originals/a")).rejects.toMatchObject({
    code: "WASABI_FORBIDDEN",
    message: expect.stringContaining("no-such-archive"),
  });
  const wasabi = wasabiStore(config);
  expect(await wasabi.head("originals/a")).toBeNull();
});
