/**
 * The phases of an asset's way in which a fault can strike: what traffic each is sure to have, by which it is caught and
 * held, and how its end shows in the asset's document. Pure.
 */
import type { Asset } from "../schemas/asset.ts";
import type { Only } from "./fault-rule.ts";
import type { LinkName } from "./stack-fault.ts";

export const phases = [
  "archiving",
  "telling",
  "claiming",
  "encoding",
  "uploading",
  "completing",
  "placing-r2",
  "placing-lucidlink",
  "evicting",
  "promoting",
  "idle",
] as const;
export type Phase = (typeof phases)[number];

/** Exchanges that happen in this phase and, once those before it are over, in no other. */
export type Hold = { link: LinkName; only: Only; exchanges: number };

export const holds: Readonly<Record<Phase, Hold | null>> = {
  archiving: { link: "worker-wasabi", only: { method: "HEAD", targetHas: ["/originals/"] }, exchanges: 1 },
  /** The application is told, the first time that the asset is archived. */
  telling: { link: "worker-app", only: { method: "POST" }, exchanges: 1 },
  /** A runner has the message and opens its socket to the job. */
  claiming: { link: "runner-api", only: { method: "GET", targetHas: ["/v1/runner/jobs/"] }, exchanges: 1 },
  /** The runner reads the original, and has sent no part. */
  encoding: { link: "runner-wasabi", only: { method: "GET", targetHas: ["/originals/"] }, exchanges: 1 },
  /** A part is on its way. */
  uploading: { link: "runner-wasabi", only: { method: "PUT", targetHas: ["/proxies/", "partNumber="] }, exchanges: 1 },
  completing: {
    link: "worker-wasabi",
    only: { method: "POST", targetHas: ["/proxies/", "uploadId="] },
    exchanges: 1,
  },
  "placing-r2": { link: "worker-wasabi", only: { method: "GET", targetHas: ["/proxies/"] }, exchanges: 1 },
  "placing-lucidlink": { link: "agent-wasabi", only: { method: "GET", targetHas: ["/proxies/"] }, exchanges: 1 },
  /** Nothing leaves R2 before its archive has been looked at. */
  evicting: { link: "worker-wasabi", only: { method: "HEAD", targetHas: ["/proxies/"] }, exchanges: 1 },
  /** The viewer's own read is the first. */
  promoting: { link: "worker-wasabi", only: { method: "GET", targetHas: ["/proxies/"] }, exchanges: 2 },
  idle: null,
};

type Rendition = Asset["renditions"][number];

function everyRendition({ renditions }: Asset, is: (rendition: Rendition) => boolean): boolean {
  return renditions.length > 0 && renditions.every(is);
}

function everyCopy(asset: Asset, tier: string): boolean {
  return everyRendition(
    asset,
    ({ status, copies }) =>
      status === "archived" && copies.every((copy) => copy.tier !== tier || copy.status === "placed"),
  );
}

/** Whether the phase cannot come any more by itself. */
export function isPast(phase: Phase, asset: Asset): boolean {
  if (asset.state === "failed" && phase !== "telling") return true;
  switch (phase) {
    case "archiving":
      return asset.original !== null;
    case "claiming":
      return asset.state !== "received" && asset.state !== "archived";
    case "encoding":
    case "uploading":
      return everyRendition(asset, ({ status }) => status === "uploaded" || status === "archived");
    case "completing":
      return everyRendition(asset, ({ status }) => status === "archived");
    case "placing-r2":
      return everyCopy(asset, "r2");
    case "placing-lucidlink":
      return everyCopy(asset, "lucidlink");
    case "evicting":
      return asset.state === "evicted";
    case "telling":
    case "promoting":
    case "idle":
      return false;
  }
}
