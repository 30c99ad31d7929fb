/** A certificate of 127.0.0.1 for tests, signed by nobody else, to the year 2126; and trust in it, for a while. */
import { readFileSync } from "node:fs";
import { getCACertificates, setDefaultCACertificates } from "node:tls";

export type Certificate = { key: string; cert: string };

/**
 * Made once, for a machine may be without openssl: `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 36500
 * -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1`.
 */
export function selfSigned(): Certificate {
  const read = (name: string) => readFileSync(new URL(`certificate/${name}.pem`, import.meta.url), "utf8");
  return { key: read("loopback.key"), cert: read("loopback.cert") };
}

/** In this thread, for connections that are made from now on. @returns what takes it back */
export function trust({ cert }: Certificate): () => void {
  const before = getCACertificates("default");
  setDefaultCACertificates([...before, cert]);
  return () => setDefaultCACertificates(before);
}
