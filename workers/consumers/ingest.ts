/**
 * IngestOriginal: brings an original from a URL to its canonical key, hashed in passing; nothing shows at the key before
 * every byte is proven. From an origin that answers ranges it moves in parts, by as many messages as it takes; from any
 * other in one piece, as far as a consumer's life goes.
 */
import type { CompositeSha256 } from "../../schemas/checksum.ts";
import type { CommandOf } from "../../schemas/command.ts";
import type { MovedPart, StageOf } from "../../schemas/transfer.ts";
import { emptyMidstate, MidstateSha256 } from "../stores/midstate-sha256.ts";
import {
  compositeOf,
  digested,
  moveDigested,
  multipartEtag,
  type PartRange,
  partRanges,
} from "../stores/part-digest.ts";
import { StoreFailure } from "../stores/store-failure.ts";
import { transferPartBytes } from "../stores/transfer-part.ts";
import { occupied } from "../stores/wasabi-proof.ts";
import { openUpload } from "./open-upload.ts";
import { answeredByDoor } from "./step-work.ts";
import { awaitedRanges, handOver, incomplete, movedFacts, moveParts, transferPlan, unmoved } from "./transfer-work.ts";
import { openUrl, pinnedSource, type UrlSource } from "./url-source.ts";
import type { Facts, Workbench } from "./workbench.ts";

const stallMs = 30_000;

type Ingest = CommandOf<"IngestOriginal">;
/** Of the whole file, where its digest was announced. */
type WholeHash = MidstateSha256 | null;

export async function ingestOriginal(command: Ingest, bench: Workbench): Promise<Facts> {
  const { stage } = command;
  switch (stage.type) {
    case "open":
      return openIngest(command, bench);
    case "parts":
      return ingestParts(command, stage, bench);
    case "complete":
      return completeIngest(
        command,
        bench,
        stage.uploadId,
        await answeredByDoor(bench.door.movedParts(stage.uploadId)),
      );
  }
}

const wantedOf = ({ url, sizeBytes }: Ingest, { config, signal }: Workbench) => ({
  url,
  sizeBytes,
  config,
  signal,
});

async function openIngest(command: Ingest, bench: Workbench): Promise<Facts> {
  const { key, fileId, sizeBytes } = command;
  const there = await bench.wasabi.head(key);
  // One of the same size may be what an earlier try completed: its bytes tell.
  if (there !== null && there.sizeBytes !== sizeBytes) throw occupied(there, command);
  const source = await openUrl(wantedOf(command, bench));
  const partSizeBytes = transferPartBytes(sizeBytes, bench.config.policy.transferPartBytes);
  const upload = await openUpload(bench, { key, fileId });
  try {
    if (source.pin === null) {
      const parts = await sendWhole(command, source, upload.uploadId, bench, partSizeBytes);
      const facts = await completeIngest(command, bench, upload.uploadId, parts);
      await upload.release();
      return facts;
    }
    const plan = transferPlan({ uploadId: upload.uploadId, sizeBytes, partSizeBytes });
    const midstate = command.sha256 === null ? null : emptyMidstate;
    const isOurs = await handOver(bench, { tier: "wasabi", key, ...plan, pin: source.pin, midstate });
    if (isOurs) await upload.release();
    return [];
  } finally {
    await upload.close();
  }
}

/** From an origin that cannot be asked for a part: one read from end to end. */
async function sendWhole(
  command: Ingest,
  source: UrlSource,
  uploadId: string,
  bench: Workbench,
  partSizeBytes: number,
): Promise<MovedPart[]> {
  const whole = command.sha256 === null ? null : new MidstateSha256();
  const sent: MovedPart[] = [];
  for (const part of partRanges(command.sizeBytes, partSizeBytes)) {
    bench.signal.throwIfAborted();
    sent.push(await sendPart(command, { source, uploadId, part, whole }, bench));
  }
  await source.finish();
  proveWhole(command, whole);
  return sent;
}

async function ingestParts(command: Ingest, stage: StageOf<"parts">, bench: Workbench): Promise<Facts> {
  const { uploadId, pin, midstate } = stage;
  if (pin === null) throw new Error("parts are read from a pinned source only");
  const source = pinnedSource(wantedOf(command, bench), pin);
  if (midstate !== null) return ingestInOrder(command, stage, bench, source, midstate);
  const send = (part: PartRange) => sendPart(command, { source, uploadId, part, whole: null }, bench);
  return moveParts(stage, command.sizeBytes, bench, send);
}

/** The digest of the whole file wants its bytes one after the other, and goes on from message to message. */
async function ingestInOrder(
  command: Ingest,
  stage: StageOf<"parts">,
  bench: Workbench,
  source: UrlSource,
  before: string,
): Promise<Facts> {
  const ranges = awaitedRanges(stage, command.sizeBytes, bench);
  const whole = new MidstateSha256(before, ranges[0]?.from ?? 0);
  const moved: MovedPart[] = [];
  let midstate = before;
  try {
    for (const part of ranges) {
      const sent = await sendPart(command, { source, uploadId: stage.uploadId, part, whole }, bench);
      if (part.from + part.sizeBytes === command.sizeBytes) proveWhole(command, whole);
      else midstate = whole.midstate();
      moved.push(sent);
    }
  } catch (error) {
    throw unmoved(error, bench, movedFacts(stage, bench, moved, midstate));
  }
  return movedFacts(stage, bench, moved, midstate);
}

interface Sending {
  source: UrlSource;
  uploadId: string;
  part: PartRange;
  whole: WholeHash;
}

async function sendPart(
  { key }: Ingest,
  { source, uploadId, part, whole }: Sending,
  { wasabi, signal }: Workbench,
): Promise<MovedPart> {
  const also = whole === null ? undefined : { write: async (chunk: Uint8Array) => whole.update(chunk) };
  const stream = digested(await source.read(part), part.sizeBytes, { stallMs, blame: "SOURCE_UNREADABLE", also });
  const { sent, hashes } = await moveDigested(stream, (body) =>
    wasabi.uploadPart(key, uploadId, { ...part, body, signal }),
  );
  return { n: part.n, sizeBytes: part.sizeBytes, etag: sent, ...hashes };
}

function proveWhole({ sha256 }: Ingest, whole: WholeHash): void {
  if (whole === null || whole.digest() === sha256) return;
  throw new StoreFailure("CHECKSUM_MISMATCH", "The file's SHA-256 is not the announced one.", { retryable: false });
}

async function completeIngest(
  { key, op, sizeBytes }: Ingest,
  { wasabi, claim }: Workbench,
  uploadId: string,
  parts: readonly MovedPart[],
): Promise<Facts> {
  const md5 = parts.flatMap((part) => part.md5 ?? []);
  const sha256 = parts.flatMap((part) => part.sha256 ?? []);
  const [first] = parts;
  if (first === undefined || md5.length !== parts.length || sha256.length !== parts.length) {
    throw new Error("an original's parts are hashed when they are moved");
  }
  const expectedEtag = await multipartEtag(md5);
  await claim("complete");
  try {
    await wasabi.completeNew(key, uploadId, parts, { sizeBytes, etag: expectedEtag });
  } catch (error) {
    throw incomplete(error);
  }
  const composite: CompositeSha256 = {
    partSizeBytes: first.sizeBytes,
    parts: parts.length,
    composite: await compositeOf(sha256),
  };
  return [{ type: "OriginalArchived", op, key, sizeBytes, etag: expectedEtag, sha256: composite }];
}
