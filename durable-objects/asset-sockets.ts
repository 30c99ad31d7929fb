/** The sockets of one Asset object: people who watch it, and the runner that encodes it. */
import type { SingleFrame } from "../schemas/api.ts";
import type { Asset } from "../schemas/asset.ts";
import type { ObjectFrame } from "../schemas/runner-protocol.ts";
import type { Env } from "../workers/stores/config.ts";
import { closeEndedSockets, isEnded, nextLookAtMs, tokenOf } from "./socket-token.ts";
import { broadcast, sendFrame, welcome } from "./status-socket.ts";

const runnerTag = "runner";
const watcherTag = "watcher";

export class AssetSockets {
  readonly #ctx: DurableObjectState;
  readonly #catalogue: D1Database;

  constructor(ctx: DurableObjectState, env: Env) {
    this.#ctx = ctx;
    this.#catalogue = env.CATALOGUE;
  }

  /** `/status` for watchers, `/runner/{jobId}` for the runner. The worker has checked who asks. */
  accept(request: Request, asset: Asset | null): Response {
    const { pathname, searchParams } = new URL(request.url);
    const runnerJobId = /^\/runner\/([0-9a-f]{24})$/.exec(pathname)?.[1];
    const { 0: client, 1: server } = new WebSocketPair();
    if (runnerJobId !== undefined) {
      this.#ctx.acceptWebSocket(server, [runnerTag]);
      server.serializeAttachment({ jobId: runnerJobId, ...tokenOf(searchParams, Date.now()) });
    } else {
      if (asset === null) return new Response(null, { status: 404 });
      this.#ctx.acceptWebSocket(server, [watcherTag]);
      welcome(server, searchParams, asset);
    }
    return new Response(null, { status: 101, webSocket: client });
  }

  /** @returns the job of the runner that speaks; null for anybody else, and for one whose token has ended */
  async speakingRunner(socket: WebSocket): Promise<string | null> {
    if (!this.#ctx.getTags(socket).includes(runnerTag) || (await isEnded(socket, this.#tools()))) return null;
    return (socket.deserializeAttachment() as { jobId: string }).jobId;
  }

  tellWatchers(frame: SingleFrame): void {
    broadcast(this.#ctx.getWebSockets(watcherTag), frame);
  }

  tellRunner(frame: ObjectFrame): void {
    for (const socket of this.#ctx.getWebSockets(runnerTag)) sendFrame(socket, frame);
  }

  async closeEnded(): Promise<void> {
    await closeEndedSockets(this.#ctx.getWebSockets(), this.#tools());
  }

  /** When a socket's token has to be looked at; null without sockets. */
  nextLookAtMs(): number | null {
    return nextLookAtMs(this.#ctx.getWebSockets());
  }

  #tools() {
    return { database: this.#catalogue, ctx: this.#ctx, nowMs: Date.now() };
  }
}
