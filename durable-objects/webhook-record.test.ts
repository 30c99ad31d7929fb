/** What was said under a webhook-id: the first stands, for two weeks. */
import { env, runInDurableObject } from "cloudflare:test";
import { expect, test } from "vitest";
import { fieldsOf, recordNameOf, WebhookRecord } from "./webhook-record.ts";

const dayMs = 24 * 3600 * 1000;
const startMs = Date.parse("2026-11-23T10:00:00Z");

test("what was said first stands for two weeks, and is then forgotten", async () => {
  await runInDurableObject(env.FEED.getByName("webhooks:test"), (_instance, { storage }) => {
    const record = new WebhookRecord(storage.sql);
    const rows = () => storage.sql.exec("SELECT count(*) AS n FROM webhook").one().n;
    expect(record.differences("a", { "data.sizeBytes": "1" }, startMs)).toEqual([]);
    expect(record.differences("a", { "data.sizeBytes": "1" }, startMs + dayMs)).toEqual([]);
    expect(record.differences("a", { "data.sizeBytes": "2" }, startMs + 14 * dayMs)).toEqual(["data.sizeBytes"]);
    expect(record.differences("a", { "data.sizeBytes": "1" }, startMs + 14 * dayMs)).toEqual([]);
    expect(rows()).toBe(1);
    expect(record.differences("b", {}, startMs + 15 * dayMs)).toEqual([]);
    expect(rows()).toBe(1);
    expect(record.differences("a", { "data.sizeBytes": "2" }, startMs + 15 * dayMs)).toEqual([]);
  });
});

test("a field that is there in one of two, at any depth, is a difference of its own path", async () => {
  const fields = await fieldsOf({
    fileId: "f",
    priority: undefined,
    source: { kind: "url", url: "https://x/?sig=secret" },
  });
  expect(Object.keys(fields)).toEqual(["data.fileId", "data.source.kind", "data.source.url"]);
  expect(JSON.stringify(fields)).not.toContain("secret");
});

test("ids are spread over a fixed number of objects", async () => {
  const names = await Promise.all(Array.from({ length: 500 }, (_, n) => recordNameOf(`default:msg_${n}`)));
  expect(new Set(names).size).toBe(16);
  expect(await recordNameOf("default:msg_0")).toBe(names[0]);
});
