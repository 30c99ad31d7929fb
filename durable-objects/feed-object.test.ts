/** The Feed object: who watches many assets sees those of the client and project asked for, and tickets open one socket. */
import { env } from "cloudflare:test";
import { expect, test } from "vitest";
import type { SingleFrame, TokenClaims } from "../schemas/api.ts";
import type { UploadDeclaration } from "../schemas/event.ts";
import { originalKey } from "../schemas/key.ts";
import { publishAssets } from "../workers/stores/catalogue.ts";
import type { Env } from "../workers/stores/config.ts";
import { assetDoor } from "./asset-door.ts";
import { feedDoor, feedsOf, ticketDoor } from "./feed-door.ts";

const bindings = env as unknown as Env;

async function upload(fileId: string, clientName: string, projectName: string) {
  const file = { fileId, clientName, projectName, fileName: "take.mov" };
  const declared: UploadDeclaration = { ...file, sizeBytes: 10, source: { kind: "wasabi", key: originalKey(file) } };
  const event = { type: "UploadNoticed", upload: declared } as const;
  const { asset } = await assetDoor(bindings.ASSET, fileId).apply({ key: null, by: "test", event });
  if (asset === null) throw new Error("the upload made no asset");
  await publishAssets(bindings.CATALOGUE, [asset]);
}

async function watch(name: string, query: string): Promise<SingleFrame[]> {
  const headers = { Upgrade: "websocket" };
  const response = await feedDoor(bindings.FEED, name).fetch(new Request(`https://feed/status?${query}`, { headers }));
  const socket = response.webSocket;
  if (!socket) throw new Error("no socket");
  const seen: SingleFrame[] = [];
  socket.addEventListener("message", ({ data }) => {
    seen.push(...(JSON.parse(String(data)) as { frames: SingleFrame[] }).frames);
  });
  socket.accept();
  return seen;
}

const told = (frames: SingleFrame[]) =>
  frames.flatMap((frame) => ("asset" in frame ? [`${frame.type} ${frame.asset.fileId}`] : []));

test("a watcher of many gets a snapshot of what it watches, then the changes, and nothing of others", async () => {
  await upload("feed-spring-1", "feed-acme", "spring");
  await upload("feed-autumn-1", "feed-acme", "autumn");
  await upload("feed-other-1", "feed-other", "spring");
  const frames = await watch("feed-acme", "client=feed-acme&project=spring");
  await expect.poll(() => told(frames)).toEqual(["snapshot feed-spring-1"]);
  await upload("feed-other-2", "feed-other", "spring");
  await upload("feed-autumn-2", "feed-acme", "autumn");
  await upload("feed-spring-2", "feed-acme", "spring");
  await expect.poll(() => told(frames)).toContain("asset feed-spring-2");
  expect(told(frames).filter((line) => !line.includes("spring-"))).toEqual([]);
});

test("a ticket opens one socket, once", async () => {
  const door = ticketDoor(bindings.FEED);
  const claims: TokenClaims = { sub: "ann", role: "viewer", clients: ["acme"], exp: 4_000_000_000 };
  const { ticket, expiresAtMs } = await door.issueTicket(claims);
  expect(expiresAtMs).toBeGreaterThan(Date.now());
  expect(await door.redeemTicket(`${ticket}x`)).toBeNull();
  expect(await door.redeemTicket(ticket)).toEqual(claims);
  expect(await door.redeemTicket(ticket)).toBeNull();
});

test("an alert of a client reaches its watchers, of whatever project; one of nobody in particular, those of everything", async () => {
  const [all, spring, other] = [
    await watch("*", ""),
    await watch("feed-alarm", "client=feed-alarm&project=spring"),
    await watch("feed-calm", "client=feed-calm"),
  ];
  const alert = {
    type: "alert",
    severity: "warning",
    code: "LUCIDLINK_FULL",
    message: "No room.",
    fileId: null,
  } as const;
  for (const feed of feedsOf(bindings.FEED, "feed-alarm")) {
    await feed.publish("feed-alarm", null, { ...alert, id: "LUCIDLINK_FULL:feed-alarm" });
  }
  await feedDoor(bindings.FEED, "*").publish(null, null, { ...alert, id: "dead-letter:r2:unreadable" });
  const alerts = (frames: SingleFrame[]) => frames.flatMap((frame) => (frame.type === "alert" ? [frame.id] : []));
  await expect.poll(() => alerts(all)).toEqual(["LUCIDLINK_FULL:feed-alarm", "dead-letter:r2:unreadable"]);
  await expect.poll(() => alerts(spring)).toEqual(["LUCIDLINK_FULL:feed-alarm"]);
  expect(alerts(other)).toEqual([]);
});
