/** Stands between a browser and the API: serves one page, passes proxies on, and counts what is asked for and handed on. */
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface PassedRequest {
  range: string | null;
  status: number;
  servedFrom: string | null;
  /** Of the body, as the browser was sent it. */
  bytes: number;
}

export class CountingProxy {
  readonly passed: PassedRequest[] = [];
  readonly #server: Server;
  readonly #api: URL;
  #page = "";
  #onReport: (report: unknown) => void = () => undefined;

  private constructor(api: string) {
    this.#api = new URL(api);
    this.#server = createServer((asked, response) => this.#serve(asked, response));
  }

  static async start(api: string): Promise<CountingProxy> {
    const proxy = new CountingProxy(api);
    await new Promise<void>((resolve) => proxy.#server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** @returns what the page posts to /report */
  serve(page: string): Promise<unknown> {
    this.#page = page;
    this.passed.length = 0;
    return new Promise((resolve) => {
      this.#onReport = resolve;
    });
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  #serve(asked: IncomingMessage, response: ServerResponse): void {
    const path = asked.url ?? "/";
    if (path.startsWith("/proxies/")) this.#pass(asked, response, path);
    else if (path === "/report") this.#take(asked, response);
    else {
      response.writeHead(path === "/" ? 200 : 404, { "content-type": "text/html; charset=utf-8" });
      response.end(path === "/" ? this.#page : "");
    }
  }

  #take(asked: IncomingMessage, response: ServerResponse): void {
    let text = "";
    asked.on("data", (chunk: Buffer) => {
      text += chunk.toString();
    });
    asked.on("end", () => {
      response.writeHead(204).end();
      this.#onReport(JSON.parse(text));
    });
  }

  #pass(asked: IncomingMessage, response: ServerResponse, path: string): void {
    const { hostname, port } = this.#api;
    const headers = { ...asked.headers, host: this.#api.host };
    const onward = request({ hostname, port, path, method: asked.method, headers, agent: false }, (answer) => {
      const range = asked.headers.range ?? null;
      const servedFrom = String(answer.headers["x-served-from"] ?? "");
      const entry: PassedRequest = { range, status: answer.statusCode ?? 0, servedFrom, bytes: 0 };
      this.passed.push(entry);
      response.writeHead(entry.status, answer.headers);
      answer.on("data", (chunk: Buffer) => {
        entry.bytes += chunk.length;
      });
      answer.pipe(response);
      answer.on("error", () => response.destroy());
    });
    onward.on("error", () => response.destroy());
    // A browser that seeks breaks off what it no longer wants.
    response.on("close", () => onward.destroy());
    onward.end();
  }
}
