/** The card of the colour bench: patches of light in BT.2020, written as PQ or HLG. Pure. */
import { type HdrTransfer, pqOfNits } from "../gpu-runner/media/hdr-cube.ts";

export const CARD = { width: 640, height: 384, columns: 12, rows: 8 } as const;

type Light = readonly [number, number, number];

const greys = [0.5, 1, 2, 5, 10, 30, 60, 100, 150, 203, 300, 400, 600, 800, 900, 1000].map((n): Light => [n, n, n]);
const hues: readonly Light[] = [
  [1, 0, 0],
  [0, 1, 0],
  [0, 0, 1],
  [1, 1, 0],
  [0, 1, 1],
  [1, 0, 1],
  [1, 0.5, 0],
  [0.2, 1, 0.6],
];
const saturated = [1, 0.7].flatMap((saturation) =>
  [50, 200, 500, 1000].flatMap((nits) =>
    hues.map(
      ([r, g, b]): Light => [pale(r, saturation) * nits, pale(g, saturation) * nits, pale(b, saturation) * nits],
    ),
  ),
);
const skin: readonly Light[] = [
  [120, 80, 60],
  [60, 36, 26],
  [200, 150, 125],
  [25, 14, 10],
  [90, 62, 50],
  [300, 220, 180],
  [150, 100, 70],
  [40, 26, 20],
];
const ramp = Array.from({ length: 8 }, (_, i): Light => [20 + i * 30, 10 + i * 12, 200 - i * 20]);

function pale(value: number, saturation: number): number {
  return value * saturation + (1 - saturation) / 2;
}

/** In nits, row by row. */
export const PATCHES: readonly Light[] = [...greys, ...saturated, ...skin, ...ramp];

/** One frame of `gbrp16le`, full range. */
export function cardFrame(transfer: HdrTransfer): Buffer {
  const { width, height, columns, rows } = CARD;
  const frame = Buffer.alloc(width * height * 6);
  const signals = PATCHES.map((light) => (transfer === "pq" ? light.map(pqOfNits) : hlgOfNits(light)));
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const patch = Math.floor((y * rows) / height) * columns + Math.floor((x * columns) / width);
      const [red = 0, green = 0, blue = 0] = signals[patch] ?? [];
      for (const [plane, value] of [green, blue, red].entries())
        frame.writeUInt16LE(Math.round(Math.min(1, value) * 65_535), 2 * (plane * width * height + y * width + x));
    }
  return frame;
}

/** Of a display of 1000 nits: its OOTF undone, and the OETF of BT.2100. */
function hlgOfNits(light: Light): number[] {
  const display = light.map((nits) => nits / 1000);
  const [red = 0, green = 0, blue = 0] = display;
  const luma = Math.max(1e-9, 0.2627 * red + 0.678 * green + 0.0593 * blue);
  return display.map((value) => {
    const scene = value * luma ** (-0.2 / 1.2);
    return scene <= 1 / 12 ? Math.sqrt(3 * scene) : 0.17883277 * Math.log(12 * scene - 0.28466892) + 0.55991073;
  });
}

/** The middle of each patch in a frame of `gbrp16le`, as red, green and blue from 0 to 1. */
export function readPatches(frame: Buffer): Light[] {
  const { width, height, columns, rows } = CARD;
  return PATCHES.map((_, i) => {
    const x = Math.floor(((i % columns) + 0.5) * (width / columns));
    const y = Math.floor((Math.floor(i / columns) + 0.5) * (height / rows));
    const plane = (n: number) => frame.readUInt16LE(2 * (n * width * height + y * width + x)) / 65_535;
    return [plane(2), plane(0), plane(1)];
  });
}
