/** Rules as S3 stores write them, and what they do to what the archive holds. */
import { expect, test } from "vitest";
import { judgeAbort, judgeExpiry, judgeNoncurrent, readLifecycle } from "./lifecycle.ts";

const rule = (inside: string, status = "Enabled") => `<Rule><ID>r</ID><Status>${status}</Status>${inside}</Rule>`;
const everywhere = "<Filter><Prefix></Prefix></Filter>";
const abort = rule(
  `${everywhere}<AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload>`,
);
const days = (count: number) => `<Expiration><Days>${count}</Days></Expiration>`;
const noncurrent = (count: number) =>
  `<NoncurrentVersionExpiration><NoncurrentDays>${count}</NoncurrentDays></NoncurrentVersionExpiration>`;

function judged(...rules: string[]): string {
  const read = readLifecycle(
    `<?xml version="1.0"?><LifecycleConfiguration xmlns="x">${rules.join("")}</LifecycleConfiguration>`,
  );
  if (read === null) throw new Error("not read");
  return [judgeExpiry, judgeNoncurrent, judgeAbort].map((judge) => judge(read, "fix").outcome).join(" ");
}

test.each([
  ["none", [], "ok ok failed"],
  ["as documented", [abort, rule(`${everywhere}${noncurrent(90)}`)], "ok ok ok"],
  ["everything expires", [abort, rule(`${everywhere}${days(30)}`)], "failed ok ok"],
  ["expires at a date", [abort, rule(`${everywhere}<Expiration><Date>2030-01-01</Date></Expiration>`)], "failed ok ok"],
  ["no prefix at all", [abort, rule(days(30))], "failed ok ok"],
  ["an old rule's prefix", [abort, rule(`<Prefix>originals</Prefix>${days(30)}`)], "failed ok ok"],
  [
    "one client's originals",
    [abort, rule(`<Filter><Prefix>originals/acme/</Prefix></Filter>${days(30)}`)],
    "failed ok ok",
  ],
  ["proxies", [abort, rule(`<Filter><Prefix>proxies/</Prefix></Filter>${days(30)}`)], "failed ok ok"],
  [
    "narrowed by a tag",
    [
      abort,
      rule(`<Filter><And><Prefix>orig</Prefix><Tag><Key>a</Key><Value>b</Value></Tag></And></Filter>${days(30)}`),
    ],
    "failed ok ok",
  ],
  ["another folder", [abort, rule(`<Filter><Prefix>logs/</Prefix></Filter>${days(1)}${noncurrent(1)}`)], "ok ok ok"],
  ["disabled", [abort, rule(`${everywhere}${days(1)}${noncurrent(1)}`, "Disabled")], "ok ok ok"],
  [
    "delete markers alone",
    [abort, rule(`${everywhere}<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>`)],
    "ok ok ok",
  ],
  ["replaced originals early", [abort, rule(`${everywhere}${noncurrent(89)}`)], "ok failed ok"],
  ["replaced proxies early", [abort, rule(`<Filter><Prefix>proxies/</Prefix></Filter>${noncurrent(1)}`)], "ok ok ok"],
  ["aborts below originals alone", [abort.replace("<Prefix></Prefix>", "<Prefix>originals/</Prefix>")], "ok ok failed"],
  ["aborts within a day", [abort.replace(">7<", ">1<")], "ok ok failed"],
] as const)("%s: %s", (_name, rules, expected) => {
  expect(judged(...rules)).toBe(expected);
});

test("what is no configuration is not read as an empty one", () => {
  for (const text of ["", "<html>", "<Error><Code>x</Code></Error>", "{}"]) expect(readLifecycle(text)).toBeNull();
  expect(readLifecycle("<LifecycleConfiguration/>")).toEqual([]);
});
