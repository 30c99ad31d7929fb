/** Draws a file's way through the pipeline as lines of at most the given columns. Pure but for colour. */
import type { Asset } from "../schemas/asset.ts";
import { qualityRank } from "../schemas/ladder.ts";
import { formatDuration, formatPercent, formatSize, renderBar } from "./bar.ts";
import { type FileState, isArchived, type Phase, phaseDurations } from "./demo-state.ts";
import { accent, bad, bold, dim, good, warm } from "./paint.ts";
import { padEnd, padStart, shorten } from "./text-width.ts";

const labelColumns = 11;
const noteColumns = 26;

type Row = { label: string; fraction: number | null; note: string; tookMs: number | null };

function stepRow({ label, fraction, note, tookMs }: Row, columns: number): string {
  const barColumns = Math.max(10, Math.min(40, columns - labelColumns - noteColumns - 8));
  const bar = fraction === null ? dim("·".repeat(barColumns)) : renderBar(fraction, barColumns);
  const percent = fraction === null ? "" : formatPercent(fraction);
  const end = tookMs === null ? note : [note, formatDuration(tookMs)].filter((text) => text !== "").join("  ");
  return `  ${padEnd(label, labelColumns)}${bar} ${padStart(percent, 5)}  ${dim(shorten(end, noteColumns - 2))}`.trimEnd();
}

type Rendition = Asset["renditions"][number];

function sortedRenditions(asset: Asset): Rendition[] {
  return [...asset.renditions].sort((a, b) => qualityRank(a.quality) - qualityRank(b.quality));
}

function renditionFraction(state: FileState, rendition: Rendition): number | null {
  if (isArchived(rendition)) return 1;
  // Uploaded is not archived: the last hundredth is the proof in Wasabi.
  if (rendition.status === "uploaded") return 0.99;
  if (rendition.status !== "encoding") return null;
  const frame = state.progress?.renditions.find(({ quality }) => quality === rendition.quality);
  return frame === undefined ? 0 : Math.min(0.99, frame.percent / 100);
}

function renditionRow(state: FileState, rendition: Rendition, columns: number): string {
  const frame = state.progress?.renditions.find(({ quality }) => quality === rendition.quality);
  const sizeBytes = rendition.sizeBytes ?? frame?.uploadedBytes ?? 0;
  const size = sizeBytes > 0 ? formatSize(sizeBytes) : "";
  const note = rendition.status === "uploaded" ? `${size}  proving` : rendition.status === "wanted" ? "" : size;
  return stepRow(
    { label: `  ${rendition.quality}`, fraction: renditionFraction(state, rendition), note, tookMs: null },
    columns,
  );
}

function encodeNote(asset: Asset, progress: FileState["progress"]): string {
  if (asset.state === "archived") return "waits for a runner";
  if (asset.state !== "transcoding" || progress === null) return "";
  const eta = progress.etaSeconds === null ? "" : `  ${formatDuration(progress.etaSeconds * 1_000)} left`;
  return `${Math.round(progress.fps)} fps  ${progress.speed.toFixed(1)}×${eta}`;
}

const copyMark: Record<string, (text: string) => string> = {
  placed: (text) => good(`✓ ${text}`),
  placing: (text) => accent(`▸ ${text}`),
  wanted: (text) => dim(`· ${text}`),
  failed: (text) => bad(`✗ ${text}`),
  removing: (text) => dim(`◂ ${text}`),
  evicted: (text) => dim(`○ ${text}`),
};

function copiesLine(asset: Asset): string | null {
  const copies = sortedRenditions(asset).flatMap((rendition) =>
    rendition.copies
      .filter((copy) => copy.tier !== "wasabi")
      .map((copy) => (copyMark[copy.status] ?? dim)(`${copy.tier === "r2" ? "R2" : "LucidLink"} ${rendition.quality}`)),
  );
  return copies.length === 0 ? null : `  ${padEnd("place", labelColumns)}${copies.join("  ")}`;
}

function headline(state: FileState, columns: number): string {
  const source = state.asset?.source;
  const facts =
    source == null
      ? formatSize(state.sizeBytes)
      : `${source.width}×${source.height}  ${Number(source.fps.toFixed(3))} fps  ${formatDuration(source.durationSeconds * 1_000)}  ${source.videoCodec}`;
  const name = shorten(state.fileName, Math.max(12, columns - facts.length - 6));
  return `${bold(name)}  ${dim(facts)}`;
}

export function renderFile(state: FileState, columns: number): string[] {
  const took = new Map<Phase, number>(phaseDurations(state).map(({ phase, tookMs }) => [phase, tookMs]));
  const { asset } = state;
  const uploaded = state.sizeBytes === 0 ? 0 : state.sentBytes / state.sizeBytes;
  const lines = [
    headline(state, columns),
    stepRow(
      { label: "upload", fraction: uploaded, note: formatSize(state.sentBytes), tookMs: took.get("upload") ?? null },
      columns,
    ),
  ];
  if (asset !== null) {
    lines.push(
      stepRow(
        {
          label: "archive",
          fraction: asset.original === null ? 0 : 1,
          note: asset.original === null ? "" : "verified",
          tookMs: took.get("archive") ?? null,
        },
        columns,
      ),
      stepRow(
        {
          label: "encode",
          fraction: took.has("encode")
            ? 1
            : took.has("wait")
              ? Math.min(0.99, (state.progress?.percent ?? 0) / 100)
              : null,
          note: encodeNote(asset, state.progress),
          tookMs: took.get("encode") ?? null,
        },
        columns,
      ),
      ...sortedRenditions(asset).map((rendition) => renditionRow(state, rendition, columns)),
    );
    const copies = copiesLine(asset);
    if (copies !== null) lines.push(copies);
    if (asset.problem !== null) {
      lines.push(`  ${warm("!")} ${shorten(`${asset.problem.code}: ${asset.problem.message}`, columns - 4)}`);
    }
  }
  if (state.readBack !== null && state.readBack.of > 0) {
    lines.push(
      stepRow(
        {
          label: "read back",
          fraction: state.readBack.done / state.readBack.of,
          note: `${state.readBack.done} of ${state.readBack.of}`,
          tookMs: took.get("read back") ?? null,
        },
        columns,
      ),
    );
  }
  if (state.failure !== null) lines.push(`  ${bad("✗")} ${state.failure}`);
  return lines;
}

/** For pipes and logs: where the file is, and how far it has come there. */
export function summarizeFile(state: FileState): { stage: string; detail: string } {
  const { asset, fileName, readBack } = state;
  if (state.failure !== null) return { stage: `${fileName}  failed: ${state.failure}`, detail: "" };
  if (readBack !== null) return { stage: `${fileName}  read back`, detail: `${readBack.done} of ${readBack.of}` };
  if (asset === null) {
    return { stage: `${fileName}  upload`, detail: formatPercent(state.sentBytes / Math.max(1, state.sizeBytes)) };
  }
  const problem = asset.problem === null ? "" : `  ${asset.problem.code}`;
  if (asset.state === "transcoding") {
    const percent = state.progress === null ? "" : `${Math.floor(state.progress.percent)} %  `;
    return { stage: `${fileName}  transcoding${problem}`, detail: `${percent}${encodeNote(asset, state.progress)}` };
  }
  const archived = asset.renditions.filter(isArchived).length;
  const detail = asset.renditions.length === 0 ? "" : `${archived} of ${asset.renditions.length} renditions archived`;
  const waits = asset.state === "archived" ? ", waits for a runner" : "";
  return { stage: `${fileName}  ${asset.state}${waits}${problem}`, detail };
}
