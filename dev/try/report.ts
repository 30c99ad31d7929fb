/** What a trial says to a person. */
import { basename } from "node:path";
import type { Level } from "../../gpu-runner/media/testing/source-compare.ts";
import { heardSound } from "../../schemas/heard-sound.ts";
import type { Rational, SourceProbe } from "../../schemas/media-probe.ts";
import { formatDuration, formatSize, renderBar } from "../bar.ts";
import { accent, bad, bold, dim, good, warm } from "../paint.ts";
import { renderTable } from "../table.ts";
import type { Comparison, Trial } from "./trial-state.ts";

const fpsText = ({ num, den }: Rational) => `${Number((num / den).toFixed(3))} fps`;
const row = (name: string, text: string) => `  ${dim(name.padEnd(10))} ${text}`;
const dbText = (db: number) => (Number.isFinite(db) ? `${db.toFixed(1)}` : "silent");
const levelText = ({ peakDb, rmsDb }: Level) => `${dbText(rmsDb)} RMS ${dbText(peakDb)} peak`;

export function progressLines({ file, stage, progress }: Trial, columns: number): string[] {
  const bar = renderBar((progress?.percent ?? 0) / 100, Math.max(10, Math.min(40, columns - 50)));
  const eta = progress?.etaSeconds == null ? "" : `${formatDuration(progress.etaSeconds * 1000)} left`;
  const pace = stage === "encoding" && progress ? `${progress.fps.toFixed(0)} fps  ${eta}` : "";
  return [`${bold(basename(file))}  ${stage}`, `${stage === "reading" ? renderBar(0, 10) : bar}  ${dim(pace)}`];
}

export function reportTrial(trial: Trial, maxColumns: number): string[] {
  const { file, source, refusal, faults, comparison, warnings } = trial;
  const mark = refusal ? bad("✗ refused") : faults.length > 0 ? bad("✗ came out wrong") : good("✓ as it was shot");
  return [
    `${bold(basename(file))}  ${mark}`,
    ...(refusal ? [row("why", `${bad(refusal.code)} ${refusal.message}`)] : []),
    ...(source ? sourceLines(source, comparison) : []),
    ...(comparison ? comparisonLines(trial, comparison, maxColumns) : []),
    ...warnings.map((text) => `  ${warm("!")} ${text}`),
    ...faults.map(({ what, why }) => `  ${bad("✗")} ${what}: ${why}`),
  ];
}

function sourceLines(source: SourceProbe, comparison: Comparison | null): string[] {
  const { width, height, codedWidth, codedHeight, rotation, vfr, fps, interlaced, hdr } = source;
  const rules = [
    ...(rotation ? [`turned ${rotation}°`] : []),
    ...(interlaced ? ["deinterlaced"] : []),
    ...(hdr ? [`${hdr.toUpperCase()} brought to BT.709`] : []),
    ...(source.fullRange ? ["full range to limited"] : []),
  ];
  const measured = comparison?.rate;
  return [
    row("file", `${source.container}  ${source.durationSeconds.toFixed(3)} s`),
    row("picture", `${source.videoCodec} ${source.pixelFormat} ${codedWidth}×${codedHeight} shown ${width}×${height}`),
    row("rate", `${fpsText(fps)} by the probe, ${vfr ? "variable" : "constant"}`),
    ...(measured
      ? [
          row(
            "decoded",
            `${measured.medianFps?.toFixed(3) ?? "?"} fps ${measured.constant ? "constant" : "variable"}, frames from ` +
              `${measured.firstSeconds.toFixed(3)} to ${measured.lastSeconds.toFixed(3)} s`,
          ),
        ]
      : []),
    ...(rules.length > 0 ? [row("handled", rules.join(", "))] : []),
    ...source.audio.map(({ codec, channels, layout, language }, n) =>
      row(`sound ${n + 1}`, [codec, `${channels} ch`, layout ?? "discrete", language ?? ""].join(" ").trimEnd()),
    ),
    row("heard", soundRule(source)),
    ...(source.damage ?? []).map(({ what, fromSeconds, toSeconds }) =>
      row("damage", `${what} from ${fromSeconds.toFixed(2)} to ${toSeconds.toFixed(2)} s`),
    ),
    ...otherFields(source),
  ];
}

function soundRule(source: SourceProbe): string {
  const heard = heardSound(source.audio);
  if (heard === null) return source.audio.length > 0 ? "no track can be decoded" : "no sound";
  const tracks = heard.tracks.map((track) => track + 1).join(", ");
  const gains = heard.gains.map((sides) => sides.map((gain) => gain.toFixed(2)).join("/")).join(" ");
  return [`track ${tracks}`, `left/right ${gains}`, heard.why].filter((each) => each !== null).join("; ");
}

const SHOWN = new Set(
  (
    "container durationSeconds videoDurationSeconds width height codedWidth codedHeight sar rotation fps vfr videoCodec " +
    "pixelFormat bitDepth interlaced hdr colorMatrix colorPrimaries colorTransfer fullRange audio damage timecode"
  ).split(" "),
);

/** Whatever else the probe found, by its own name. */
function otherFields(source: SourceProbe): string[] {
  const others = Object.entries(source).filter(([name, value]) => !SHOWN.has(name) && value !== undefined);
  return others.map(([name, value]) => row(name.padEnd(10), JSON.stringify(value)));
}

function comparisonLines({ plans, renditions }: Trial, comparison: Comparison, maxColumns: number): string[] {
  const { frames, lag, sourceLevels, levels } = comparison;
  const ladder = renderTable(
    [
      { title: "rendition", paint: accent },
      { title: "size" },
      { title: "rate" },
      { title: "frames", align: "right" },
      { title: "bytes", align: "right" },
      { title: "PSNR", align: "right" },
      { title: "lowest", align: "right" },
      { title: "SSIM", align: "right" },
    ],
    renditions.map(({ quality, width, height, frames: made, sizeBytes }) => {
      const plan = plans.find((each) => each.quality === quality);
      const likeness = comparison.pictures.find((each) => each.quality === quality)?.likeness;
      return [
        ...[quality, `${width}×${height}`, plan ? `${fpsText(plan.fps)}${plan.resample ? " resampled" : ""}` : ""],
        ...[`${made}`, formatSize(sizeBytes)],
        ...(likeness
          ? [likeness.psnrDb.toFixed(1), likeness.worstPsnrDb.toFixed(1), likeness.ssim.toFixed(4)]
          : ["?", "?", "?"]),
      ];
    }),
    { maxColumns, indent: "  ", paintTitle: dim },
  );
  const worstMs = (frames.worstSeconds * 1000).toFixed(1);
  const late = (ms: number | null) => (ms === null ? "not to be told" : `${ms} ms late`);
  return [
    ...ladder,
    row(
      "frames",
      `${frames.in} in, ${frames.out} out, ${frames.missing} missing, ${frames.repeated} repeated, ${worstMs} ms off at most`,
    ),
    ...(lag ? [row("sync", `sound at the start ${late(lag.startMs)}, at the end ${late(lag.endMs)}`)] : []),
    ...sourceLevels.map((channels, n) => row(`level ${n + 1}`, channels.map(levelText).join(" · ") || "not decoded")),
    ...(levels.length > 0 ? [row("level out", levels.map(levelText).join(" · "))] : []),
  ];
}
