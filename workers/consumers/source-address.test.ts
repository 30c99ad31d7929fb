import { expect, test } from "vitest";
import { checkSourceAddress } from "./source-address.ts";

const open = { publicUrl: "https://media.example.com", environment: "production" };
const local = { publicUrl: "http://127.0.0.1:8787", environment: "local" };

test.each([
  "https://cdn.example.com/a%20b.mov?X-Amz-Signature=1",
  "http://93.184.216.34/x.mov",
  "https://[2606:2800:220:1::1]/x",
])("reads %s", (url) => {
  expect(checkSourceAddress(url, open).href).toBe(url);
});

test.each([
  "ftp://example.com/x",
  "file:///etc/passwd",
  "https://user:pass@example.com/x",
  "http://localhost/x",
  "http://api.localhost./x",
  "http://metadata.google.internal/x",
  "http://intranet/x",
  "http://127.0.0.1/x",
  "http://2130706433/x",
  "http://0x7f.1/x",
  "http://0177.0.0.1/x",
  "http://10.1.2.3/x",
  "http://172.31.0.1/x",
  "http://192.168.1.1/x",
  "http://169.254.169.254/latest/meta-data",
  "http://100.64.0.1/x",
  "http://224.0.0.1/x",
  "http://255.255.255.255/x",
  "http://0.0.0.0/x",
  "http://[::1]/x",
  "http://[::]/x",
  "http://[::ffff:127.0.0.1]/x",
  "http://[64:ff9b::7f00:1]/x",
  "http://[fe80::1]/x",
  "http://[fd00::1]/x",
  "http://[2002:7f00:1::]/x",
  "http://[2001::1]/x",
  "https://media.example.com/healthz",
  "http://MEDIA.example.com.:8443/v1/assets",
  "not a url",
])("refuses %s", (url) => {
  expect(() => checkSourceAddress(url, open)).toThrow(expect.objectContaining({ code: "SOURCE_REFUSED" }));
});

test("the local stack may read from loopback, still by http only", () => {
  expect(checkSourceAddress("http://127.0.0.1:9000/x", local).port).toBe("9000");
  expect(() => checkSourceAddress("file:///x", local)).toThrow();
  expect(() => checkSourceAddress("http://127.0.0.1:8787/x", local)).toThrow("leads back to this API");
});
