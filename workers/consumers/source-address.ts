/** Which addresses an original may be fetched from: the open internet only, so that nobody reads our network, or us, through us. */
import { codeOf } from "../../schemas/failure-policy.ts";
import { isOwnAddress } from "../own-address.ts";
import type { Config } from "../stores/config.ts";
import { StoreFailure } from "../stores/store-failure.ts";

const privateNames = /(^|\.)(localhost|local|internal|intranet|lan|home\.arpa)$/;

/** IPv4 blocks that are not the open internet: [first octets, prefix length]. */
const closedBlocks: readonly (readonly [address: string, prefixBits: number])[] = [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.0.0.0", 24],
  ["192.0.2.0", 24],
  ["192.88.99.0", 24],
  ["192.168.0.0", 16],
  ["198.18.0.0", 15],
  ["198.51.100.0", 24],
  ["203.0.113.0", 24],
  ["224.0.0.0", 3],
];

function numberOf(address: string): number {
  return address.split(".").reduce((sum, octet) => sum * 256 + Number(octet), 0);
}

function isClosedV4(address: string): boolean {
  const value = numberOf(address);
  return closedBlocks.some(([block, bits]) => {
    const size = 2 ** (32 - bits);
    return Math.floor(value / size) === Math.floor(numberOf(block) / size);
  });
}

/** Only 2000::/3 is handed out; within it, transition ranges that embed an IPv4 address are refused as well. */
function isClosedV6(address: string): boolean {
  const first = Number.parseInt(address.split(":")[0] || "0", 16);
  if (first < 0x2000 || first > 0x3fff) return true;
  return first === 0x2002 || /^2001:(0?:|db8:)/.test(address);
}

/**
 * The URL parser has already made every spelling of an IPv4 address (decimal, octal, hex) the dotted one. A name that
 * resolves to a private address is refused by the platform: a deployed worker reaches public addresses only.
 * @throws StoreFailure SOURCE_REFUSED
 */
export function checkSourceAddress(text: string, config: Pick<Config, "publicUrl" | "environment">): URL {
  const code = codeOf("urlAnswer", "a redirect to an address that is not public");
  const refuse = (why: string) => new StoreFailure(code, `The source URL is refused: ${why}.`);
  if (!URL.canParse(text)) throw refuse("it is not a URL");
  const url = new URL(text);
  if (url.protocol !== "https:" && url.protocol !== "http:") throw refuse("only http and https are read");
  if (url.username !== "" || url.password !== "") throw refuse("it carries a name or password");
  if (isOwnAddress(url, config)) throw refuse("it leads back to this API");
  // The local stack reads from loopback.
  if (config.environment === "local") return url;
  const host = url.hostname.toLowerCase().replace(/\.$/, "");
  const closed = host.startsWith("[")
    ? isClosedV6(host.slice(1, -1))
    : /^\d+\.\d+\.\d+\.\d+$/.test(host)
      ? isClosedV4(host)
      : privateNames.test(host) || !host.includes(".");
  if (closed) throw refuse("its host is not on the open internet");
  return url;
}
