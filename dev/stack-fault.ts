/** Which links of the stack can be made to fail, and what the processes need to know of it. Pure. */
import { randomBytes } from "node:crypto";
import type { FaultProxyConfig } from "./fault-proxy.ts";
import { r2DoorPath } from "./r2-fault.ts";
import type { StackFile } from "./stack-file.ts";

/** Named FROM-TO: who opens the connection comes first. */
export const linkNames = [
  "worker-wasabi",
  "runner-wasabi",
  "agent-wasabi",
  "runner-api",
  "worker-pull",
  "worker-agent",
  "agent-api",
  "worker-app",
] as const;
export type LinkName = (typeof linkNames)[number];

export type FaultShape = { doorPort: number; token: string; links: Record<LinkName, number> };

const doorPortName = "fault-door";
const linkPortName = (name: LinkName) => `fault-link:${name}`;

export const faultPortNames: readonly string[] = [doorPortName, ...linkNames.map(linkPortName)];

export function faultShapeOf(ports: Readonly<Record<string, number>>): FaultShape {
  const portOf = (name: string) => ports[name] ?? 0;
  const links = Object.fromEntries(linkNames.map((name) => [name, portOf(linkPortName(name))]));
  return {
    doorPort: portOf(doorPortName),
    // Good for one start: nothing that is signed with it has to outlive that.
    token: randomBytes(24).toString("base64url"),
    links: links as Record<LinkName, number>,
  };
}

export function linkPort(faults: FaultShape | null, name: LinkName, directPort: number): number {
  return faults === null ? directPort : faults.links[name];
}

type TargetPorts = Record<"api" | "pull" | "wasabi" | "agent" | "appWebhook", number>;

export function faultProxyConfig({ doorPort, token, links }: FaultShape, ports: TargetPorts): FaultProxyConfig {
  const targets: Record<LinkName, number> = {
    "worker-wasabi": ports.wasabi,
    "runner-wasabi": ports.wasabi,
    "agent-wasabi": ports.wasabi,
    "runner-api": ports.api,
    "worker-pull": ports.pull,
    "worker-agent": ports.agent,
    "agent-api": ports.api,
    "worker-app": ports.appWebhook,
  };
  return {
    port: doorPort,
    token,
    links: linkNames.map((name) => ({ name, port: links[name], targetPort: targets[name] })),
  };
}

export function faultFileOf({ doorPort, token }: FaultShape, api: string): NonNullable<StackFile["faults"]> {
  return { url: `http://127.0.0.1:${doorPort}`, r2Url: `${api}${r2DoorPath}`, token, links: [...linkNames] };
}
