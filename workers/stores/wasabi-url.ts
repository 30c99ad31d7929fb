/** Addresses of objects in the archive bucket: path style, every byte outside the unreserved set escaped. */
import { StoreFailure } from "./store-failure.ts";

export interface ArchiveAddress {
  /** Without a slash at its end. */
  endpoint: string;
  bucket: string;
}

/** `+` becomes %2B and `!'()*` are escaped too: signer, server and URL parser must agree on one spelling. */
export function encodeKey(key: string): string {
  return key
    .split("/")
    .map((segment) =>
      encodeURIComponent(segment).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`),
    )
    .join("/");
}

/** @throws StoreFailure BAD_REQUEST for a key that no URL can carry: dot segments are folded by every URL parser. */
export function objectUrl({ endpoint, bucket }: ArchiveAddress, key: string): string {
  const impossible = key === "" || !key.isWellFormed() || key.split("/").some((part) => part === "." || part === "..");
  if (impossible) throw new StoreFailure("BAD_REQUEST", "The key cannot be written as a URL.");
  return `${endpoint}/${bucket}/${encodeKey(key)}`;
}
