/** How near an HDR source's colours come to libplacebo's, by the table that is used and by the float path before it. */
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { type HdrTransfer, hdrCube, toIctcp } from "../gpu-runner/media/hdr-cube.ts";
import { hdrFilters } from "../gpu-runner/media/picture-graph.ts";
import { readOptions } from "./bench-options.ts";
import { CARD, cardFrame, readPatches } from "./colour-card.ts";
import { type Bench, type Figure, figureOf, printFigures, say } from "./figure.ts";

const exec = promisify(execFile);

const help = `Usage: npm run bench -- colour

  colour-TRANSFER-mean   difference to libplacebo's picture in Delta E ITP (BT.2124), mean and
  colour-TRANSFER-p95    95th percentile of 96 patches: greys, saturated colours, skin, ramps.
                         Baseline: zscale and tonemap=hable in float
  colour-TRANSFER-cpu    processor seconds for 100 frames of 1080p. Baseline: the same

Needs an ffmpeg with zscale and libplacebo, and any Vulkan: mesa-vulkan-drivers has one in
software. libplacebo runs with tonemapping=bt.2390, gamut_mode=clip, peak detection on.
  --help`;

const TRANSFERS = { pq: "smpte2084", hlg: "arib-std-b67" } as const;
const TO_RGB =
  "scale=in_color_matrix=bt709:in_range=tv:out_range=pc:flags=accurate_rnd+full_chroma_int,format=gbrp16le";
const WHITE_NITS = 203;

const floatFilters = (transfer: HdrTransfer, size: string) =>
  `zscale=${size}:pin=bt2020:tin=${TRANSFERS[transfer]}:min=bt2020nc:rin=limited:t=linear:npl=100:p=bt2020,` +
  "format=gbrpf32le,zscale=p=bt709,tonemap=tonemap=hable:desat=0,zscale=t=bt709:m=bt709:r=limited,format=yuv420p";

const LIBPLACEBO =
  "format=yuv420p10le,hwupload,libplacebo=tonemapping=bt.2390:gamut_mode=clip:colorspace=bt709:color_primaries=bt709:" +
  "color_trc=bt709:range=limited:format=yuv420p10le,hwdownload,format=yuv420p10le";

async function ffmpeg(args: string): Promise<void> {
  await exec("ffmpeg", ["-v", "error", "-nostdin", "-y", ...args.split(" ")], { timeout: 5 * 60_000 });
}

async function cpuSeconds(args: string): Promise<number> {
  const { stderr } = await exec("ffmpeg", ["-nostdin", "-y", "-benchmark", ...args.split(" ")]);
  const [, user, system] = /utime=([\d.]+)s stime=([\d.]+)s/.exec(stderr) ?? [];
  if (user === undefined || system === undefined) throw new Error("ffmpeg told no times");
  return Number(user) + Number(system);
}

/** In nits of BT.2020, as a display of BT.709 shows it. */
function itpOf([red, green, blue]: readonly [number, number, number]) {
  const [r, g, b] = [red ** 2.4 * WHITE_NITS, green ** 2.4 * WHITE_NITS, blue ** 2.4 * WHITE_NITS];
  return toIctcp([
    0.627404 * r + 0.329283 * g + 0.043313 * b,
    0.069097 * r + 0.91954 * g + 0.011362 * b,
    0.016391 * r + 0.088013 * g + 0.895595 * b,
  ]);
}

function differences(reference: Buffer, shown: Buffer): number[] {
  const others = readPatches(shown).map(itpOf);
  return readPatches(reference)
    .map(itpOf)
    .map((a, i) => {
      const b = others[i] ?? a;
      return 720 * Math.hypot(a[0] - b[0], 0.5 * (a[1] - b[1]), a[2] - b[2]);
    })
    .toSorted((a, b) => a - b);
}

async function measure(transfer: HdrTransfer, folder: string): Promise<Figure[]> {
  const at = (name: string) => join(folder, `${transfer}.${name}`);
  const { width, height } = CARD;
  const tags = `-color_primaries bt2020 -color_trc ${TRANSFERS[transfer]} -colorspace bt2020nc -color_range tv`;
  const written = `zscale=pin=bt2020:tin=${TRANSFERS[transfer]}:min=gbr:rin=full:p=bt2020:t=${TRANSFERS[transfer]}:m=bt2020nc:r=limited`;
  const frame = cardFrame(transfer);
  await writeFile(at("raw"), Buffer.concat([frame, frame, frame]));
  const raw = `-f rawvideo -pix_fmt gbrp16le -s ${width}x${height} -r 25 -i ${at("raw")}`;
  await ffmpeg(`${raw} -vf ${written},format=yuv420p10le ${tags} -c:v ffv1 ${at("mkv")}`);
  await writeFile(at("cube"), hdrCube(transfer));
  const source = { colorMatrix: "bt2020nc", fullRange: false, pixelFormat: "yuv420p10le" };
  const byTable = (size: { width: number; height: number }) => hdrFilters(source, size, at("cube")).join(",");
  const vulkan = "-init_hw_device vulkan=vk -filter_hw_device vk";
  const toRgb = (filters: string, name: string, device = "") =>
    ffmpeg(`${device} -i ${at("mkv")} -vf ${filters},${TO_RGB} -f rawvideo ${at(name)}`.trim());
  await toRgb(LIBPLACEBO, "reference", vulkan);
  await toRgb(floatFilters(transfer, `w=${width}:h=${height}`), "float");
  await toRgb(byTable(CARD), "table");
  // libplacebo knows a picture's peak only after it has seen it.
  const lastFrame = async (name: string) => (await readFile(at(name))).subarray(-frame.length);
  const reference = await lastFrame("reference");
  const table = differences(reference, await lastFrame("table"));
  const float = differences(reference, await lastFrame("float"));
  const mean = (all: number[]) => all.reduce((sum, value) => sum + value, 0) / all.length;
  const p95 = (all: number[]) => all[Math.floor(all.length * 0.95)] ?? Number.NaN;
  const large = `-stream_loop 32 -i ${at("mkv")} -frames:v 100 -vf scale=1920:1080,format=yuv420p10le`;
  const cpu = (filters: string) => cpuSeconds(`${large},${filters} -f null -`);
  const idle = await cpu("null");
  const cpuTable = (await cpu(byTable({ width: 1920, height: 1080 }))) - idle;
  const cpuFloat = (await cpu(floatFilters(transfer, "w=1920:h=1080"))) - idle;
  return [
    figureOf(`colour-${transfer}-mean`, mean(table), mean(float)),
    figureOf(`colour-${transfer}-p95`, p95(table), p95(float)),
    figureOf(`colour-${transfer}-cpu`, cpuTable, cpuFloat),
  ];
}

async function run(args: string[]): Promise<void> {
  readOptions(args, {});
  const folder = await mkdtemp(join(tmpdir(), "mmf-colour-"));
  try {
    const figures: Figure[] = [];
    for (const transfer of ["pq", "hlg"] as const) {
      say(`measuring ${transfer}`);
      figures.push(...(await measure(transfer, folder)));
    }
    printFigures(figures);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

export const colourBench: Bench = {
  says: "how near HDR comes to libplacebo's colours",
  help,
  run,
};
