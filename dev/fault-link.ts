/**
 * One link of the local stack behind a TCP proxy that can misbehave: bytes pass unchanged until its rule says otherwise.
 * The rule may change at any time, also under connections that are open. What is opened here is closed by `close`.
 */
import { once } from "node:events";
import { createServer } from "node:net";
import { Relay, type Weather } from "./fault-relay.ts";
import { type FaultRule, pass } from "./fault-rule.ts";

export type LinkPlan = { name: string; port: number; targetPort: number };

export type LinkStatus = {
  rule: FaultRule;
  /** How often the present rule has struck. */
  struck: number;
  firstStruckAtMs: number | null;
  openConnections: number;
};

export type FaultLink = {
  name: string;
  port: number;
  status(): LinkStatus;
  setRule(rule: FaultRule): void;
  close(): Promise<void>;
};

export async function openFaultLink(plan: LinkPlan): Promise<FaultLink> {
  let rule: FaultRule = pass;
  let struck = 0;
  let firstStruckAtMs: number | null = null;
  let change = Promise.withResolvers<void>();
  const connections = new Set<Relay>();
  const weather: Weather = {
    rule: () => rule,
    changed: () => change.promise,
    strike() {
      struck += 1;
      firstStruckAtMs ??= Date.now();
    },
  };
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    client.on("error", () => undefined);
    if (rule.kind === "refuse") {
      weather.strike();
      client.resetAndDestroy();
      return;
    }
    const connection = new Relay(client, plan.targetPort, weather);
    connections.add(connection);
    void connection.run().then(() => connections.delete(connection));
  });
  server.listen(plan.port, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : plan.port;

  return {
    name: plan.name,
    port,
    status: () => ({ rule, struck, firstStruckAtMs, openConnections: connections.size }),
    setRule(next) {
      rule = next;
      struck = 0;
      firstStruckAtMs = null;
      change.resolve();
      change = Promise.withResolvers<void>();
      // What lies idle is not struck: only who comes and is refused counts.
      if (rule.kind === "refuse") for (const connection of connections) connection.reset();
    },
    async close() {
      const closed = once(server, "close");
      server.close();
      for (const connection of connections) connection.reset();
      await closed;
    },
  };
}
