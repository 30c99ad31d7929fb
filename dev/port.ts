/** Loopback ports: the ones of the last run where they are free, so that signed URLs stay valid. */
import { createServer } from "node:net";

/** Binds for a moment: the only honest way to know. Port 0 lets the kernel choose. */
async function bind(port: number): Promise<number | null> {
  return await new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", (error: NodeJS.ErrnoException) =>
      error.code === "EADDRINUSE" || error.code === "EACCES" ? resolve(null) : reject(error),
    );
    server.listen({ port, host: "127.0.0.1", exclusive: true }, () => {
      const address = server.address();
      const bound = typeof address === "object" && address !== null ? address.port : null;
      server.close(() => resolve(bound));
    });
  });
}

export async function isFree(port: number): Promise<boolean> {
  return (await bind(port)) !== null;
}

/**
 * A free port for every name: the preferred one where it is free, else any. A fresh port is held against the other
 * names' preferences, so that no two names get one port.
 */
export async function choosePorts<Name extends string>(
  preferred: Record<Name, number | null>,
): Promise<Record<Name, number>> {
  const entries = Object.entries(preferred) as [Name, number | null][];
  const taken = new Set(entries.flatMap(([, port]) => port ?? []));
  const chosen: [Name, number][] = [];
  for (const [name, port] of entries) {
    if (port !== null && !chosen.some(([, other]) => other === port) && (await isFree(port))) {
      chosen.push([name, port]);
      continue;
    }
    for (;;) {
      const fresh = await bind(0);
      if (fresh === null || taken.has(fresh)) continue;
      taken.add(fresh);
      chosen.push([name, fresh]);
      break;
    }
  }
  return Object.fromEntries(chosen) as Record<Name, number>;
}
