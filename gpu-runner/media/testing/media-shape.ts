/** Random kinds of small files, each told by a seed, and the ffmpeg arguments that make one. */

export type AudioShape = { sampleRateHz: number; channels: 1 | 2; seconds: number; lateBySeconds: number };

export type MediaShape = {
  seed: number;
  width: number;
  height: number;
  rate: string;
  seconds: number;
  /** null: as many as the seconds give. */
  frames: 1 | 2 | null;
  bFrames: number;
  openGop: boolean;
  gopFrames: number;
  /** null: constant quality alone. */
  maxRateBps: number | null;
  sar: string;
  /** Of every `vfr.of` frames, those from `vfr.from` to `vfr.to` are left out. */
  vfr: { of: number; from: number; to: number } | null;
  timecode: boolean;
  pictureLateBySeconds: number;
  audio: AudioShape[];
  /**
   * null: fragments end before keyframes only. So they do at a variable rate with sound: where another track ends a
   * fragment after a frame that lasts longer than it said, ffmpeg shifts the next one. Renditions have a constant rate.
   */
  fragmentSeconds: number | null;
  /** How the stream arrives, and how it is cut. */
  chunkBytes: number;
  partSizeBytes: number;
  reserveBytes: number;
};

/** Mulberry32: small, and the same everywhere. */
function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b_79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function mediaShape(seed: number): MediaShape {
  const random = randomFrom(seed);
  const chance = (probability: number) => random() < probability;
  const between = (low: number, high: number) => low + Math.floor(random() * (high - low + 1));
  const oneOf = <Item>(...items: readonly [Item, ...Item[]]): Item => items[between(0, items.length - 1)] ?? items[0];
  const tenths = (low: number, high: number) => between(low * 10, high * 10) / 10;

  const seconds = tenths(0.5, 3);
  const bFrames = between(0, 3);
  const vfrOf = between(3, 9);
  const vfrFrom = between(0, vfrOf - 2);
  const shape: Omit<MediaShape, "fragmentSeconds"> = {
    seed,
    width: between(32, 80) * 2,
    height: between(18, 45) * 2,
    rate: oneOf("24", "25", "30", "50", "60", "24000/1001", "30000/1001"),
    seconds,
    frames: chance(0.12) ? oneOf(1, 2) : null,
    bFrames,
    openGop: bFrames > 0 && chance(0.4),
    gopFrames: between(2, 60),
    maxRateBps: chance(0.5) ? between(20, 200) * 1000 : null,
    sar: oneOf("1/1", "1/1", "4/3", "16/11", "64/45"),
    vfr: chance(0.25) ? { of: vfrOf, from: vfrFrom, to: between(vfrFrom, vfrOf - 2) } : null,
    timecode: chance(0.25),
    pictureLateBySeconds: chance(0.2) ? tenths(0.1, 1.5) : 0,
    audio: Array.from({ length: oneOf(0, 1, 1, 2) }, () => ({
      sampleRateHz: oneOf(48_000, 48_000, 44_100, 32_000, 22_050, 11_025, 8_000, 96_000),
      channels: oneOf(1, 2),
      seconds: oneOf(seconds, seconds, tenths(0.1, 0.5), seconds + tenths(0.5, 2)),
      lateBySeconds: chance(0.25) ? tenths(0.1, 1.5) : 0,
    })),
    chunkBytes: Math.min(65_536, Math.floor(2 ** (random() * 17))),
    partSizeBytes: oneOf(4, 16, 64, 8 * 1024) * 1024,
    reserveBytes: between(10_000, 32_000),
  };
  const mayCutGroups = shape.vfr === null || shape.audio.length === 0;
  // Drawn last, so that a seed goes on telling the same file.
  return { ...shape, fragmentSeconds: chance(0.7) && mayCutGroups ? tenths(0.1, 1) : null };
}

/** All that ffmpeg needs but its outputs. */
export function shapeArguments(shape: MediaShape): string[] {
  const late = (seconds: number) => (seconds > 0 ? ["-itsoffset", String(seconds)] : []);
  const picture = `testsrc2=s=${shape.width}x${shape.height}:r=${shape.rate}:d=${shape.seconds}`;
  const sounds = shape.audio.flatMap((audio, i) => [
    ...late(audio.lateBySeconds),
    ...["-f", "lavfi", "-i", `sine=f=${220 * (i + 1)}:d=${audio.seconds}:r=${audio.sampleRateHz}`],
  ]);
  const filters = [
    ...(shape.vfr ? [`select='not(between(mod(n,${shape.vfr.of}),${shape.vfr.from},${shape.vfr.to}))'`] : []),
    `setsar=${shape.sar}`,
  ];
  const x264 = `open-gop=${shape.openGop ? 1 : 0}:scenecut=0:keyint=${shape.gopFrames}:min-keyint=1`;
  return [
    ...late(shape.pictureLateBySeconds),
    ...["-f", "lavfi", "-i", picture, ...sounds],
    ...["-map", "0:v", ...shape.audio.flatMap((_, i) => ["-map", `${i + 1}:a`])],
    ...["-vf", filters.join(","), "-vsync", shape.vfr ? "vfr" : "cfr"],
    ...["-c:v", "libx264", "-preset", "veryfast", "-threads", "1", "-pix_fmt", "yuv420p"],
    ...(shape.maxRateBps ? ["-maxrate", String(shape.maxRateBps), "-bufsize", String(shape.maxRateBps * 2)] : []),
    ...["-bf", String(shape.bFrames), "-x264-params", x264],
    ...(shape.frames ? ["-frames:v", String(shape.frames)] : []),
    ...["-c:a", "aac", "-b:a", "48k", ...shape.audio.flatMap(({ channels }, i) => [`-ac:a:${i}`, String(channels)])],
    ...(shape.timecode ? ["-timecode", "01:00:00:00"] : []),
  ];
}
