/**
 * The table that maps HDR pictures to BT.709: a .cube file for ffmpeg's `lut3d`, so that every build of ffmpeg shows the
 * same. BT.2390's curve is applied to the intensity in ICtCp, where a hue stays what it is, and to the brightest of red,
 * green and blue, which keeps saturation; the mean of both is clipped to BT.709. Of the ways that were compared it is the
 * nearest to libplacebo's picture (docs/bench.md). Pure.
 */
export type HdrTransfer = "pq" | "hlg";

/** The fallback's ffmpeg, of 2018, reads no larger table. */
export const CUBE_SIZE = 64;

/** White of SDR within HDR, as BT.2408 has it: it becomes the white of the rendition, but for what the curve takes. */
const WHITE_NITS = 203;
/** HLG's nominal display, and what PQ is graded on at most. */
const PEAK_NITS: Readonly<Record<HdrTransfer, number>> = { hlg: 1000, pq: 4000 };
/** BT.1886 for a display whose black is a thousandth of its white. */
const DISPLAY_GAMMA = 2.4;
const DISPLAY_BLACK = 0.001 ** (1 / DISPLAY_GAMMA);

type Triple = readonly [number, number, number];
type Matrix = readonly [Triple, Triple, Triple];

/** BT.2020 to LMS, and LMS in PQ to ICtCp: BT.2100. */
const LMS: Matrix = scaled([
  [1688, 2146, 262],
  [683, 2951, 462],
  [99, 309, 3688],
]);
const ICTCP: Matrix = scaled([
  [2048, 2048, 0],
  [6610, -13613, 7003],
  [17933, -17390, -543],
]);
const FROM_LMS = inverse(LMS);
const FROM_ICTCP = inverse(ICTCP);
/** BT.2087. */
const BT2020_TO_BT709: Matrix = [
  [1.660491, -0.587641, -0.07285],
  [-0.12455, 1.1329, -0.008349],
  [-0.018151, -0.100579, 1.11873],
];

/** As text, red fastest. Takes about a second. */
export function hdrCube(transfer: HdrTransfer): string {
  const lines = [`LUT_3D_SIZE ${CUBE_SIZE}`];
  const signal = Array.from({ length: CUBE_SIZE }, (_, i) => i / (CUBE_SIZE - 1));
  for (const blue of signal)
    for (const green of signal)
      for (const red of signal) {
        const shown = mapToSdr([red, green, blue], transfer);
        lines.push(shown.map((value) => value.toFixed(5)).join(" "));
      }
  return `${lines.join("\n")}\n`;
}

/** A signal of BT.2020 in PQ or HLG as a signal of BT.709, both in RGB from 0 to 1. */
export function mapToSdr(signal: Triple, transfer: HdrTransfer): Triple {
  const nits = transfer === "pq" ? each(signal, nitsOfPq) : displayOfHlg(signal);
  const curve = (value: number) => bt2390(value, PEAK_NITS[transfer]);
  const byIntensity = keepingHue(nits, curve);
  const byBrightest = keepingRatios(nits, curve);
  const mean = toNits([
    (byIntensity[0] + byBrightest[0]) / 2,
    (byIntensity[1] + byBrightest[1]) / 2,
    (byIntensity[2] + byBrightest[2]) / 2,
  ]);
  return each(times(BT2020_TO_BT709, mean), (value) => signalOfDisplay(value / WHITE_NITS));
}

function signalOfDisplay(light: number): number {
  return clamp((clamp(light) ** (1 / DISPLAY_GAMMA) - DISPLAY_BLACK) / (1 - DISPLAY_BLACK));
}

function keepingHue(nits: Triple, curve: (pq: number) => number): Triple {
  const [intensity, tritan, protan] = toIctcp(nits);
  const mapped = curve(intensity);
  const chroma = Math.min(mapped / Math.max(intensity, 1e-6), intensity / Math.max(mapped, 1e-6));
  return [mapped, tritan * chroma, protan * chroma];
}

function keepingRatios(nits: Triple, curve: (pq: number) => number): Triple {
  const brightest = Math.max(...nits, 1e-6);
  const gain = nitsOfPq(curve(pqOfNits(brightest))) / brightest;
  return toIctcp(each(nits, (value) => value * gain));
}

/** BT.2390's EETF, in PQ, from a display of `peakNits` to one of SDR white; the same below the knee. */
function bt2390(pq: number, peakNits: number): number {
  const peak = pqOfNits(peakNits);
  const most = pqOfNits(WHITE_NITS) / peak;
  const knee = 1.5 * most - 0.5;
  const from = Math.min(1, pq / peak);
  if (from <= knee) return from * peak;
  const t = (from - knee) / (1 - knee);
  const spline =
    (2 * t ** 3 - 3 * t ** 2 + 1) * knee + (t ** 3 - 2 * t ** 2 + t) * (1 - knee) + (3 * t ** 2 - 2 * t ** 3) * most;
  return spline * peak;
}

/** The inverse OETF and the OOTF of BT.2100, for a display of 1000 nits. */
function displayOfHlg(signal: Triple): Triple {
  const scene = each(signal, (value) =>
    value <= 0.5 ? value ** 2 / 3 : (Math.exp((value - 0.55991073) / 0.17883277) + 0.28466892) / 12,
  );
  const luma = 0.2627 * scene[0] + 0.678 * scene[1] + 0.0593 * scene[2];
  return each(scene, (value) => PEAK_NITS.hlg * value * Math.max(luma, 1e-9) ** 0.2);
}

/** ST 2084. */
const [M1, M2, C1, C2, C3] = [2610 / 16384, (2523 / 4096) * 128, 3424 / 4096, (2413 / 4096) * 32, (2392 / 4096) * 32];

function nitsOfPq(pq: number): number {
  const root = Math.max(0, pq) ** (1 / M2);
  return 10_000 * (Math.max(root - C1, 0) / (C2 - C3 * root)) ** (1 / M1);
}

export function pqOfNits(nits: number): number {
  const power = (Math.max(0, nits) / 10_000) ** M1;
  return ((C1 + C2 * power) / (1 + C3 * power)) ** M2;
}

/** Of light in BT.2020. */
export function toIctcp(nits: Triple): Triple {
  return times(ICTCP, each(times(LMS, nits), pqOfNits));
}

const toNits = (ictcp: Triple) => times(FROM_LMS, each(times(FROM_ICTCP, ictcp), nitsOfPq));

const clamp = (value: number) => Math.min(1, Math.max(0, value));

function each([a, b, c]: Triple, map: (value: number) => number): Triple {
  return [map(a), map(b), map(c)];
}

function times([a, b, c]: Matrix, [x, y, z]: Triple): Triple {
  const row = (r: Triple) => r[0] * x + r[1] * y + r[2] * z;
  return [row(a), row(b), row(c)];
}

function scaled([a, b, c]: Matrix): Matrix {
  const down = (row: Triple) => each(row, (value) => value / 4096);
  return [down(a), down(b), down(c)];
}

function inverse([[a, b, c], [d, e, f], [g, h, i]]: Matrix): Matrix {
  const det = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g);
  const over = (row: Triple) => each(row, (value) => value / det);
  return [
    over([e * i - f * h, c * h - b * i, b * f - c * e]),
    over([f * g - d * i, a * i - c * g, c * d - a * f]),
    over([d * h - e * g, b * g - a * h, a * e - b * d]),
  ];
}
