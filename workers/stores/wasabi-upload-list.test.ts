/** A listing is whole, or it is an error: what is not seen must never look as if it were gone. */
import { expect, test } from "vitest";
import { config } from "../../test/door-worker.ts";
import { localWasabiConfig } from "../../test/local-wasabi-worker.ts";
import { openWasabiStub, xml } from "../../test/wasabi-stub-worker.ts";
import { listUploads, readPage } from "./wasabi-upload-list.ts";

const initiatedAt = "2026-01-01T00:00:00.000Z";
const upload = (key: string, uploadId: string) =>
  `<Upload><Key>${key}</Key><UploadId>${uploadId}</UploadId><Initiated>${initiatedAt}</Initiated></Upload>`;
const page = (inside: string, truncated = "false") =>
  `<ListMultipartUploadsResult><IsTruncated>${truncated}</IsTruncated>${inside}</ListMultipartUploadsResult>`;
const isError = { code: "WASABI_UNAVAILABLE" };

test.each([
  ["nothing", page(""), []],
  ["one", page(upload("originals/a", "1")), [["originals/a", "1"]]],
  [
    "two",
    page(upload("originals/a", "1") + upload("originals/b", "2")),
    [
      ["originals/a", "1"],
      ["originals/b", "2"],
    ],
  ],
  ["an escaped key", page(upload("originals/a &amp; b", "1")), [["originals/a & b", "1"]]],
  [
    "an encoded key",
    page(`<EncodingType>url</EncodingType>${upload("originals/%C3%84+b%2Bc", "1")}`),
    [["originals/Ä b+c", "1"]],
  ],
])("a page with %s", (_name, text, expected) => {
  const { uploads, after } = readPage(text);
  expect(uploads.map((each) => [each.key, each.uploadId])).toEqual(expected);
  for (const each of uploads) expect(each.initiatedAt).toBe(initiatedAt);
  expect(after).toBeNull();
});

test("a key that may be encoded without saying so is kept as both", () => {
  const { uploads } = readPage(page(upload("originals/%C3%84%20b%2Bc", "1") + upload("originals/%E0", "2")));
  expect(uploads.map(({ key, otherKey }) => [key, otherKey])).toEqual([
    ["originals/Ä b+c", "originals/%C3%84%20b%2Bc"],
    ["originals/%E0", undefined],
  ]);
});

test("a page that goes on says where", () => {
  const next = "<NextKeyMarker>originals/b</NextKeyMarker><NextUploadIdMarker>2</NextUploadIdMarker>";
  expect(readPage(page(next + upload("originals/a", "1"), "true")).after).toEqual({
    key: "originals/b",
    uploadId: "2",
  });
});

test.each([
  ["cut off", page(upload("originals/a", "1") + upload("originals/b", "2")).slice(0, -60)],
  ["that goes on without saying where", page(upload("originals/a", "1"), "true")],
  ["without its end mark", page(upload("originals/a", "1"), "perhaps")],
  ["with an upload of no id", page("<Upload><Key>originals/a</Key></Upload>")],
  ["with a key that is no text", page(`<EncodingType>url</EncodingType>${upload("originals/%E0%A4%A", "1")}`)],
  ["of HTML", "<html><body>Gateway timeout</body></html>"],
  ["that is empty", ""],
])("a page %s is an error", (_name, text) => {
  expect(() => readPage(text)).toThrow(expect.objectContaining(isError));
});

test("pages are followed to the end, below one prefix", async () => {
  const stub = openWasabiStub();
  const keys = ["originals/a b", "originals/b+c", "originals/ü(1)'!", "originals/d", "originals/e"];
  stub.uploads = keys.map((key, n) => ({ key, uploadId: `u${n}`, initiatedAt }));
  stub.uploads.push({ key: "elsewhere/x", uploadId: "foreign", initiatedAt });
  expect((await listUploads(config.wasabi, "originals/")).map(({ key }) => key)).toEqual(keys);
  expect(stub.requests).toHaveLength(3);
});

test.each([
  ["an error", () => xml("InternalError", 500), "WASABI_UNAVAILABLE"],
  ["a refusal", () => xml("AccessDenied", 403), "WASABI_FORBIDDEN"],
  ["half an answer", () => new Response("<ListMultipartUploadsResult><IsTruncated>false"), "WASABI_UNAVAILABLE"],
] as const)("%s on a later page is an error of the whole", async (_name, answer, code) => {
  const stub = openWasabiStub();
  stub.uploads = ["a", "b", "c"].map((id) => ({ key: `originals/${id}`, uploadId: id, initiatedAt }));
  stub.listing = (n) => (n === 2 ? answer() : null);
  await expect(listUploads(config.wasabi, "originals/")).rejects.toMatchObject({ code });
});

test("a listing that goes round in circles is an error", async () => {
  const stub = openWasabiStub();
  const next = "<NextKeyMarker>originals/a</NextKeyMarker><NextUploadIdMarker>1</NextUploadIdMarker>";
  stub.listing = () => new Response(page(next + upload("originals/a", "1"), "true"));
  await expect(listUploads(config.wasabi, "originals/")).rejects.toMatchObject(isError);
  expect(stub.requests).toHaveLength(2);
});

test("a store that cannot list says so, and it is not waited out", async () => {
  await expect(listUploads(localWasabiConfig(), "originals/")).rejects.toMatchObject({
    code: "BAD_REQUEST",
    retryable: false,
  });
});
