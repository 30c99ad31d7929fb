/**
 * Whoever may write to the queues gives no orders: every kind of command is forged, in the very state in which its asset
 * waits for it, and nothing at all happens. The table is total, so that a new command is forged too.
 */
import { createExecutionContext, createMessageBatch, getQueueResult, runInDurableObject } from "cloudflare:test";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { type AssetDoor, assetDoor } from "../../durable-objects/asset-door.ts";
import type { AssetObject } from "../../durable-objects/asset-object.ts";
import { Command, queueOf } from "../../schemas/command.ts";
import type { AssetEvent, UploadDeclaration } from "../../schemas/event.ts";
import { edgeKey, editorKey, originalKey, proxyKey } from "../../schemas/key.ts";
import { env, newUpload, storedState, takeQueues } from "../../test/door-worker.ts";
import { probe } from "../../test/simulation/asset-sample.ts";
import { handleQueue } from "./dispatch.ts";

type Type = Command["type"];
type Message = Record<string, unknown> & { type: Type; id: string; fileId: string };

const quality = "360p";
const dayMs = 24 * 3_600_000;
const huge = Number.MAX_SAFE_INTEGER;
const victim = { clientName: "rival", projectName: "secret", fileId: "file-of-a-rival" };
const sha256 = { partSizeBytes: 8 << 20, parts: 1, composite: "a".repeat(64) };
const proven = { sizeBytes: 1_000, sha256 };

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() });
  vi.spyOn(console, "error").mockImplementation(() => undefined);
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

/** An asset that is told facts, and what its object sends. */
class Subject {
  readonly upload: UploadDeclaration;
  readonly door: AssetDoor;
  readonly sent: Message[] = [];

  constructor(over: Partial<UploadDeclaration> = {}) {
    this.upload = newUpload(over);
    this.door = assetDoor(env.ASSET, this.upload.fileId);
  }

  async tell(event: AssetEvent): Promise<void> {
    const { outcome, reason } = await this.door.apply({ key: null, by: "test", event });
    if (outcome !== "applied") throw new Error(`${event.type}: ${outcome} ${reason}`);
  }

  state = () => storedState(this.upload.fileId);

  async noticed(): Promise<this> {
    await takeQueues(this.upload.fileId, ({ body }) => {
      this.sent.push(body as Message);
    });
    await this.tell({ type: "UploadNoticed", upload: this.upload });
    return this;
  }

  async archived(): Promise<this> {
    await this.noticed();
    const { sizeBytes } = this.upload;
    const original = { key: originalKey(this.upload), sizeBytes, etag: "0".repeat(32), sha256: null };
    await this.tell({ type: "OriginalArchived", op: (await this.state()).job.archive.op, ...original });
    return this;
  }

  async encoding(): Promise<this> {
    await this.archived();
    const { generation } = (await this.state()).job;
    await this.tell({ type: "TranscodeClaimed", generation, runnerId: "test", encoder: "libx264" });
    await this.tell({ type: "SourceProbed", lease: await this.lease(), source: probe(360) });
    const upload = { key: proxyKey(this.upload, quality), uploadId: "upload-1", partSizeBytes: 8 << 20 };
    await this.tell({ type: "UploadOpened", lease: await this.lease(), quality, ...upload });
    return this;
  }

  async uploaded(): Promise<this> {
    await this.encoding();
    const measured = { width: 640, height: 360, frames: 500, durationSeconds: 20, ...proven };
    await this.tell({ type: "RenditionUploaded", lease: await this.lease(), quality, ...measured });
    return this;
  }

  async verified(): Promise<this> {
    await this.uploaded();
    const [rendition] = (await this.state()).renditions;
    const { jobId = "", step } = rendition ?? {};
    const archived = { quality, jobId, op: step?.op ?? 0, etag: "proxy-1", sizeBytes: 1_000 } as const;
    await this.tell({ type: "RenditionArchived", ...archived });
    return this;
  }

  async placed(): Promise<this> {
    await this.verified();
    for (const { tier, jobId, step } of (await this.state()).renditions[0]?.copies ?? []) {
      await this.tell({ type: "CopyPlaced", tier, quality, jobId, op: step.op, etag: null, ...proven });
    }
    await env.PROXIES.put(edgeKey(await this.jobId(), quality), new Uint8Array(1_000));
    return this;
  }

  async lease(): Promise<string> {
    return (await this.state()).job.lease?.token ?? "";
  }

  async jobId(): Promise<string> {
    return (await this.state()).job.jobId ?? "";
  }

  /** The newest true command of a kind, with its proof. */
  async sentOf(type: Type): Promise<Message> {
    return vi.waitFor(() => {
      const message = this.sent.findLast((each) => each.type === type);
      if (message === undefined) throw new Error(`no ${type} was sent`);
      return message;
    });
  }

  /** As `type` would be, though nobody sent it. */
  invented(type: Type, contents: object): Message {
    const { fileId } = this.upload;
    return { type, id: `${fileId}:1:0`, fileId, ...contents };
  }
}

interface Forgery {
  subject: Subject;
  /** What the asset waits for at this moment, or would. */
  message: Message;
  /** What a forger would rather have. */
  twist: object;
}

const ofSent = async (type: Type, subject: Subject, twist: object): Promise<Forgery> => ({
  subject,
  message: await subject.sentOf(type),
  twist,
});

const forgeries: Readonly<Record<Type, () => Promise<Forgery>>> = {
  async ArchiveOriginal() {
    const subject = await new Subject({ source: { kind: "wasabi", key: "uploads/a.mov" } }).noticed();
    return ofSent("ArchiveOriginal", subject, { sourceKey: "originals/rival/secret/file-of-a-rival/a.mov" });
  },
  async IngestOriginal() {
    const subject = await new Subject({ source: { kind: "url", url: "https://origin.example.com/a.mov" } }).noticed();
    return ofSent("IngestOriginal", subject, { url: "https://evil.example.com/a.mov" });
  },
  EnqueueTranscode: async () => ofSent("EnqueueTranscode", await new Subject().archived(), { priority: 100 }),
  CompleteUpload: async () =>
    ofSent("CompleteUpload", await new Subject().uploaded(), { uploadId: "upload-of-another" }),
  async AbortUpload() {
    const subject = await new Subject().encoding();
    const message = subject.invented("AbortUpload", { key: proxyKey(subject.upload, quality), uploadId: "upload-1" });
    return { subject, message, twist: { key: proxyKey(victim, quality) } };
  },
  async AbortEdgeUpload() {
    const subject = await new Subject().verified();
    const key = edgeKey(await subject.jobId(), quality);
    const { uploadId } = await env.PROXIES.createMultipartUpload(key);
    return { subject, message: subject.invented("AbortEdgeUpload", { key, uploadId }), twist: {} };
  },
  async RestoreArchive() {
    const subject = await new Subject().placed();
    await subject.tell({ type: "ArchiveLost", quality, jobId: await subject.jobId(), message: "gone" });
    return ofSent("RestoreArchive", subject, { from: edgeKey("0".repeat(24), quality) });
  },
  async PlaceEdgeCopy() {
    const subject = await new Subject().verified();
    const { source } = (await subject.sentOf("PlaceEdgeCopy")) as unknown as { source: object };
    return ofSent("PlaceEdgeCopy", subject, { source: { ...source, key: proxyKey(victim, quality) } });
  },
  async RemoveEdgeCopy() {
    const subject = await new Subject().placed();
    await subject.tell({ type: "EvictionRequested", quality });
    return ofSent("RemoveEdgeCopy", subject, { archive: null });
  },
  async PlaceEditorCopy() {
    const subject = await new Subject().verified();
    return ofSent("PlaceEditorCopy", subject, { key: editorKey(victim, quality) });
  },
  async CheckEditorCopy() {
    const subject = await new Subject().verified();
    const message: Message = { ...(await subject.sentOf("PlaceEditorCopy")), type: "CheckEditorCopy" };
    return { subject, message, twist: { key: editorKey(victim, quality) } };
  },
  async RemoveEditorCopy() {
    const subject = await new Subject().placed();
    await subject.tell({ type: "DeleteRequested" });
    vi.setSystemTime(Date.now() + 100 * dayMs);
    await subject.tell({ type: "GraceElapsed" });
    return ofSent("RemoveEditorCopy", subject, { key: editorKey(victim, quality) });
  },
  async CountSourceRead() {
    const subject = await new Subject().encoding();
    const message = subject.invented("CountSourceRead", { generation: 1, day: "2026-11-30", bytes: 1_000 });
    return { subject, message, twist: { bytes: 1_000_000_000_000 } };
  },
  async PublishCatalogue() {
    const subject = await new Subject().placed();
    const message = await subject.sentOf("PublishCatalogue");
    await deliver("catalogue", message);
    return { subject, message, twist: { asset: { ...(await subject.door.view()), revision: huge, state: "deleted" } } };
  },
  NotifyApp: async () => ofSent("NotifyApp", await new Subject().placed(), { event: "asset.deleted" }),
};

const noProof = ({ mac: _, ...message }: Message) => message as Message;

const stranger = (message: Message): Message => ({ ...message, fileId: `never-was-${message.fileId}` });

function enlarged(message: Message): Message {
  const numbers = ["op", "generation"].filter((name) => name in message).map((name) => [name, huge]);
  return { ...message, id: `${message.fileId}:${huge}:0`, ...Object.fromEntries(numbers) };
}

const forms: Readonly<Record<string, (forgery: Forgery, others: string) => Message>> = {
  "without a proof": ({ message }) => noProof(message),
  "without a proof, with other contents": ({ message, twist }) => noProof({ ...message, ...twist }),
  "with other contents under its proof": ({ message, twist }) => ({ ...message, ...twist, extra: 1 }),
  "with another asset's proof": ({ message, twist }, mac) => ({ ...message, ...twist, mac }),
  "of a huge revision": ({ message, twist }) => enlarged({ ...message, ...twist }),
  "of an asset that never was": ({ message, twist }, mac) => stranger({ ...message, ...twist, mac }),
};

async function deliver(queue: string, body: unknown): Promise<boolean> {
  const id = crypto.randomUUID();
  const batch = createMessageBatch(queue, [{ id, timestamp: new Date(), attempts: 1, body }]);
  const ctx = createExecutionContext();
  await handleQueue(batch, env, ctx);
  return (await getQueueResult(batch, ctx)).explicitAcks.includes(id);
}

const isOurs = ({ name }: Record<string, unknown>) => !/^(_cf_|sqlite_|d1_)/.test(String(name));

function objectRows(fileId: string): Promise<Record<string, unknown[]>> {
  const stub = env.ASSET.getByName(fileId) as unknown as DurableObjectStub<AssetObject>;
  return runInDurableObject(stub, (_instance, { storage: { sql } }) => {
    const tables = [...sql.exec("SELECT name FROM sqlite_master WHERE type = 'table'")].filter(isOurs);
    return Object.fromEntries(tables.map(({ name }) => [String(name), [...sql.exec(`SELECT * FROM "${name}"`)]]));
  });
}

async function catalogueRows(): Promise<Record<string, unknown[]>> {
  const tables = await env.CATALOGUE.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").all();
  const rows = tables.results
    .filter(isOurs)
    .map(async ({ name }) => [name, (await env.CATALOGUE.prepare(`SELECT * FROM "${name}"`).all()).results] as const);
  return Object.fromEntries(await Promise.all(rows));
}

async function everything(fileId: string) {
  const edge = (await env.PROXIES.list({ limit: 1_000 })).objects.map(({ key, etag }) => `${key} ${etag}`);
  return { object: await objectRows(fileId), catalogue: await catalogueRows(), edge };
}

test("every kind of command is forged here", () => {
  const known = Command.options.map(({ shape }) => shape.type.value);
  expect(Object.keys(forgeries).sort()).toEqual([...known].sort());
});

test.each(Object.entries(forgeries))("a forged %s does nothing", async (type, forge) => {
  const forgery = await forge();
  const { subject, message } = forgery;
  const { fileId } = subject.upload;
  await vi.waitFor(async () => expect((await objectRows(fileId)).outbox).toEqual([]));
  const other = await new Subject().noticed();
  const { mac } = await other.sentOf("ArchiveOriginal");
  const before = await everything(fileId);
  const asked = vi.spyOn(globalThis, "fetch").mockImplementation(async () => new Response(null, { status: 404 }));
  const signed = vi.spyOn(crypto.subtle, "sign");
  const sentBefore = subject.sent.length;

  for (const [form, made] of Object.entries(forms)) {
    const forged = made(forgery, String(mac));
    // Or it is garbage, which tells nothing.
    Command.parse(forged);
    expect(await deliver(queueOf(message as unknown as Command), forged), form).toBe(true);
    expect(await everything(fileId), form).toEqual(before);
    expect(asked, form).not.toHaveBeenCalled();
    expect(signed, form).not.toHaveBeenCalled();
    expect(subject.sent.length, form).toBe(sentBefore);
    expect(Object.values(await objectRows(`never-was-${fileId}`)).flat(), form).toEqual([]);
  }

  if (type === "AbortEdgeUpload") {
    const { key, uploadId } = message as unknown as { key: string; uploadId: string };
    const part = await env.PROXIES.resumeMultipartUpload(key, uploadId).uploadPart(1, new Uint8Array(10));
    expect(part.partNumber).toBe(1);
  }
});

test.each(Object.entries(forgeries))(
  "%s as its asset sent it is confirmed, and only as it sent it",
  async (_, forge) => {
    const { subject, message, twist } = await forge();
    if (!("mac" in message) || message.type === "CheckEditorCopy") return;
    const reordered = Object.fromEntries(Object.entries(message).reverse());
    expect(await subject.door.confirm(message)).toBe(true);
    expect(await subject.door.confirm(reordered)).toBe(true);
    expect(await subject.door.confirm({ ...message, ...twist })).toBe(false);
    expect(await subject.door.confirm({ ...message, added: null })).toBe(false);
  },
);
