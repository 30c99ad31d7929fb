import { afterEach, describe, expect, test, vi } from "vitest";
import { type PlaybackTarget, signPlaybackUrl, verifyPlaybackUrl } from "./playback-url.ts";
import type { Keyring } from "./stores/config.ts";

const key = (kid: string, fill: number) => ({ kid, secret: new Uint8Array(32).fill(fill) });
const keys: Keyring = [key("new", 1), key("old", 2)];
const nowMs = 1_800_000_000_000;
const target: PlaybackTarget = {
  fileId: "507f1f77bcf86cd799439011",
  jobId: "0123456789abcdef01234567",
  quality: "720p",
  downloadName: null,
  expiresAtSeconds: 1_800_000_600,
};

const sign = (over: Partial<PlaybackTarget> = {}, ring: Keyring = keys) =>
  signPlaybackUrl("https://media.test", ring, { ...target, ...over });

test("a signed URL grants exactly what was signed", async () => {
  const url = new URL(await sign());
  expect(url.pathname).toBe(`/proxies/${target.jobId}/720p.mp4`);
  expect(Object.fromEntries(url.searchParams)).toMatchObject({ asset: target.fileId, exp: "1800000600", kid: "new" });
  await expect(verifyPlaybackUrl(url, keys, nowMs)).resolves.toMatchObject(target);
});

test("a download carries its name", async () => {
  const named = { downloadName: "Señal “A”_720p.mp4" };
  const url = new URL(await sign(named));
  expect(url.searchParams.get("download")).toBe("1");
  await expect(verifyPlaybackUrl(url, keys, nowMs)).resolves.toMatchObject({ ...target, ...named });
});

test("a key that no longer signs still verifies, until it leaves the ring", async () => {
  const url = new URL(await sign({}, [key("old", 2)]));
  await expect(verifyPlaybackUrl(url, keys, nowMs)).resolves.toMatchObject(target);
  await expect(verifyPlaybackUrl(url, [key("new", 1)], nowMs)).rejects.toMatchObject({ code: "BAD_SIGNATURE" });
});

const query = (name: string, value: string | null) => (url: URL) => {
  if (value === null) url.searchParams.delete(name);
  else url.searchParams.set(name, value);
};
const path = (from: string, to: string) => (url: URL) => {
  url.pathname = url.pathname.replace(from, to);
};

const forgeries: readonly (readonly [name: string, forge: (url: URL) => void])[] = [
  ["another quality", path("720p", "1080p")],
  ["another job", path("0123", "0124")],
  ["another asset", query("asset", "507f1f77bcf86cd799439012")],
  ["a later end", query("exp", "1900000000")],
  ["a padded end", query("exp", "01800000600")],
  ["another key's name", query("kid", "old")],
  ["an unknown key", query("kid", "toString")],
  ["a changed signature", query("sig", "A".repeat(43))],
  ["a short signature", query("sig", "AAAA")],
  ["no signature", query("sig", null)],
  ["no end", query("exp", null)],
];

test("a download that was not granted is refused", async () => {
  const url = new URL(await sign());
  query("download", "1")(url);
  query("name", "x.mp4")(url);
  await expect(verifyPlaybackUrl(url, keys, nowMs)).rejects.toMatchObject({ code: "BAD_SIGNATURE" });
});

test.each(forgeries)("refuses %s with 403, also of a URL that was just used", async (_name, forge) => {
  const url = new URL(await sign());
  await verifyPlaybackUrl(url, keys, nowMs);
  forge(url);
  await expect(verifyPlaybackUrl(url, keys, nowMs)).rejects.toMatchObject({ code: "BAD_SIGNATURE", status: 403 });
});

test("says that a URL has expired only when it was ours", async () => {
  const url = new URL(await sign());
  await expect(verifyPlaybackUrl(url, keys, 1_800_000_599_999)).resolves.toMatchObject(target);
  await expect(verifyPlaybackUrl(url, keys, 1_800_000_600_000)).rejects.toMatchObject({
    code: "URL_EXPIRED",
    status: 403,
  });
  url.searchParams.set("sig", "A".repeat(43));
  await expect(verifyPlaybackUrl(url, keys, 1_900_000_000_000)).rejects.toMatchObject({ code: "BAD_SIGNATURE" });
});

describe("a signature that was good", () => {
  afterEach(() => vi.restoreAllMocks());

  /** How often it is checked when the same URL is asked for three times. */
  async function checks(url: URL): Promise<number> {
    const verify = vi.spyOn(crypto.subtle, "verify");
    for (let range = 0; range < 3; range += 1) {
      await expect(verifyPlaybackUrl(url, keys, nowMs)).resolves.toMatchObject({ fileId: target.fileId });
    }
    return verify.mock.calls.length;
  }

  test("is not checked again for the next range, whatever its file is called", async () => {
    const downloadName = `${"\u00e9".repeat(125)}.mp4`;
    expect(await checks(new URL(await sign({ downloadName, expiresAtSeconds: 1_800_000_700 })))).toBe(1);
  });

  test("is checked each time where so much follows that is not signed that it would fill the memory", async () => {
    const url = new URL(await sign({ expiresAtSeconds: 1_800_000_800 }));
    url.searchParams.set("padding", "x".repeat(4_096));
    expect(await checks(url)).toBe(3);
  });
});

test.each(["/proxies/x/720p.mp4", "/proxies/0123456789abcdef01234567/999p.mp4", "/proxies/a/b/c/720p.mp4"])(
  "%s is no proxy",
  async (path) => {
    await expect(verifyPlaybackUrl(new URL(path, "https://media.test"), keys, nowMs)).resolves.toBeNull();
  },
);
