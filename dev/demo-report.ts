/** The demo's last word on a file: where each copy lies, how long each phase took, and what was proven. */
import { formatDuration, formatSize } from "./bar.ts";
import type { DemoFile } from "./demo-run.ts";
import { phaseDurations } from "./demo-state.ts";
import { bad, bold, dim, good } from "./paint.ts";
import { renderTable } from "./table.ts";

const tierNames: Record<string, string> = { wasabi: "Wasabi", r2: "R2", lucidlink: "LucidLink" };

/**
 * @param columns Infinity where the output is no terminal: a key in a log is there to be copied, and is not shortened
 * @param stackEnds the delivery URLs then end with it, and are left out
 */
export function reportFile(
  file: Pick<DemoFile, "state" | "proofs">,
  { columns, stackEnds }: { columns: number; stackEnds: boolean },
): string[] {
  const { state, proofs } = file;
  const { asset } = state;
  const lines = ["", `${state.failure === null ? good("✓") : bad("✗")} ${bold(state.fileName)}  ${dim(state.fileId)}`];
  if (asset !== null) {
    const original =
      asset.original === null ? [] : [["original", "Wasabi", formatSize(asset.original.sizeBytes), asset.original.key]];
    const copies = asset.renditions.flatMap((rendition) =>
      rendition.copies
        .filter((copy) => copy.status === "placed")
        .map((copy) => [
          rendition.quality,
          tierNames[copy.tier] ?? copy.tier,
          rendition.sizeBytes === null ? "" : formatSize(rendition.sizeBytes),
          copy.key,
        ]),
    );
    const table = renderTable(
      [{ title: "copy" }, { title: "tier" }, { title: "size", align: "right" }, { title: "key", shrinkTo: 24 }],
      [...original, ...copies],
      { maxColumns: columns, indent: "  ", paintTitle: dim },
    );
    lines.push("", ...table);
  }
  if (proofs.length > 0 && stackEnds) {
    const served = proofs.map(({ quality, servedFrom }) => `${quality} from ${servedFrom}`).join(", ");
    lines.push("", `  ${dim(`Read back: ${served}. The delivery URLs end with the stack; --keep leaves it up.`)}`);
  } else if (proofs.length > 0) {
    // URLs are for clicking and copying: they are never shortened.
    lines.push(
      "",
      ...proofs.map(({ quality, url, servedFrom }) => `  ${quality.padEnd(6)} ${dim(servedFrom.padEnd(6))} ${url}`),
    );
  }
  const phases = phaseDurations(state);
  if (phases.length > 0) {
    const totalMs = phases.reduce((sum, { tookMs }) => sum + tookMs, 0);
    const parts = phases.map(({ phase, tookMs }) => `${phase} ${bold(formatDuration(tookMs))}`);
    lines.push("", `  ${parts.join(dim(" · "))}${dim(" · ")}in all ${bold(formatDuration(totalMs))}`);
  }
  if (state.failure !== null) lines.push("", `  ${bad(state.failure)}`);
  else {
    const which = proofs.length === 1 ? "The proxy" : `All ${proofs.length} proxies`;
    const frames = [...new Set(proofs.map((proof) => proof.frames))].join(", ");
    const against = proofs.every(({ equalTo }) => equalTo === "source") ? ", as in the source" : "";
    lines.push(
      "",
      `  ${good("✓")} ${which} came back through the delivery URL`,
      `    and decoded without an error: ${frames} frames${against}.`,
    );
  }
  return lines;
}
