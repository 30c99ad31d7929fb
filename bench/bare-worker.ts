/**
 * What the pipeline is compared with: the least work that brings an object from Wasabi to R2 (ranged fetches piped into
 * uploadPart, nothing checked), and the least that answers a range of one that lies there.
 */
import { BareCopy } from "./bare-copy.ts";

interface Env {
  BUCKET: R2Bucket;
}

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    if (request.method === "GET") return readRange(request, env);
    if (request.method === "PUT") {
      await env.BUCKET.put(keyOf(request), request.body);
      return new Response(null, { status: 204 });
    }
    const { url, sizeBytes, partSizeBytes, partsAtOnce } = BareCopy.parse(await request.json());
    const key = crypto.randomUUID();
    const upload = await env.BUCKET.createMultipartUpload(key);
    const partCount = Math.ceil(sizeBytes / partSizeBytes);
    const parts: R2UploadedPart[] = [];
    let next = 1;
    const mover = async () => {
      while (next <= partCount) {
        const n = next++;
        const from = (n - 1) * partSizeBytes;
        const to = Math.min(from + partSizeBytes, sizeBytes) - 1;
        const { status, body } = await fetch(url, { headers: { range: `bytes=${from}-${to}` } });
        if (status !== 206 || body === null) throw new Error(`Wasabi answered ${status}`);
        parts.push(await upload.uploadPart(n, body));
      }
    };
    const startedAtMs = Date.now();
    await Promise.all(Array.from({ length: partsAtOnce }, mover));
    const placed = await upload.complete(parts.sort((a, b) => a.partNumber - b.partNumber));
    const tookMs = Date.now() - startedAtMs;
    // Only the copy is measured, and the disk has room for few of them.
    await env.BUCKET.delete(key);
    return Response.json({ sizeBytes: placed.size, tookMs });
  },
} satisfies ExportedHandler<Env>;

const keyOf = (request: Request) => request.url.slice(request.url.lastIndexOf("/") + 1);

async function readRange(request: Request, env: Env): Promise<Response> {
  const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.get("range") ?? "") ?? [];
  const range = { offset: Number(first), length: Number(last) - Number(first) + 1 };
  const object = await env.BUCKET.get(keyOf(request), { range });
  return object === null ? new Response(null, { status: 404 }) : new Response(object.body, { status: 206 });
}
