/** Whether a URL leads back to this deployment: an original read from there would be read through our own rights. */
import type { Config } from "./stores/config.ts";

/** Whatever the scheme and the port; the local stack keeps everything on one host, and has only ports to tell it by. */
export function isOwnAddress(url: URL, { publicUrl, environment }: Pick<Config, "publicUrl" | "environment">): boolean {
  const own = new URL(publicUrl);
  return environment === "local" ? url.host === own.host : nameOf(url) === nameOf(own);
}

const nameOf = ({ hostname }: URL) => hostname.toLowerCase().replace(/\.$/, "");
