/** The table of sources: media of which some does not decode. What is left comes out, in its time. */
import { child, children, view } from "../mp4/box.ts";
import type { AcceptedSource, SourceGroup } from "./accepted-source.ts";
import { PLAIN_SOUND } from "./sound-source.ts";
import { AAC, bt709, card, LEFT_HERTZ, RIGHT_HERTZ, tones, X264 } from "./source-file.ts";

const R360 = { renditions: { "360p": "640x360" }, fps: "25/1", colour: "unchecked" } as const;
const MUTE = { ...R360, frames: 100, sound: null } as const;
const FOUR = card({ seconds: 4 });
const SOUND = tones([LEFT_HERTZ, RIGHT_HERTZ], "stereo", 4);
const FILM = `${FOUR} ${bt709()} ${X264} -bf 2 -g 25`;
const HEARD = `${FOUR} ${SOUND} ${bt709()} ${X264} -g 25 ${AAC}`;

type Sample = { at: number; size: number };

/** Where the samples of a track lie, by the tables of a plain movie. */
function samplesOf(movie: Buffer, track: number): Sample[] {
  const moov = children(child(children(movie), "moov").body);
  const trak = moov.filter(({ type }) => type === "trak")[track];
  const into = (body: Uint8Array, ...path: string[]) =>
    path.reduce((within, type) => child(children(within), type).body, body);
  const table = into(trak?.body ?? new Uint8Array(), "mdia", "minf", "stbl");
  const sizes = view(into(table, "stsz"));
  const fixed = sizes.getUint32(4);
  const chunkStarts = view(into(table, "stco"));
  const groups = view(into(table, "stsc"));
  const samples: Sample[] = [];
  for (let chunk = 0, group = 0; chunk < chunkStarts.getUint32(4); chunk++) {
    const next = 8 + 12 * (group + 1);
    if (group + 1 < groups.getUint32(4) && groups.getUint32(next) === chunk + 1) group++;
    let at = chunkStarts.getUint32(8 + 4 * chunk);
    for (let i = 0; i < groups.getUint32(8 + 12 * group + 4); i++) {
      const size = fixed || sizes.getUint32(12 + 4 * samples.length);
      samples.push({ at, size });
      at += size;
    }
  }
  return samples;
}

/** As parts of a file that were never written. */
const zeroed = (track: number, isLost: (n: number) => boolean) => (movie: Buffer) => {
  const edited = Buffer.from(movie);
  for (const [n, { at, size }] of samplesOf(movie, track).entries()) if (isLost(n)) edited.fill(0, at, at + size);
  return edited;
};

const zeroedShare = (from: number, to: number) => (bytes: Buffer) =>
  Buffer.from(bytes).fill(0, Math.floor(bytes.length * from), Math.floor(bytes.length * to));

/** Payloads of AVI's chunks of the first stream; their headers stay. */
const zeroedChunks = (isLost: (n: number) => boolean) => (movie: Buffer) => {
  const edited = Buffer.from(movie);
  let at = movie.indexOf("movi") + 4;
  for (let n = 0; movie.toString("latin1", at, at + 4) === "00dc"; n++) {
    const size = movie.readUInt32LE(at + 4);
    if (isLost(n)) edited.fill(0, at + 8, at + 8 + size);
    at += 8 + size + (size % 2);
  }
  return edited;
};

const picture = (fromSeconds: number, toSeconds: number) => ({ what: "picture", fromSeconds, toSeconds }) as const;
const sound = (fromSeconds: number, toSeconds: number) => ({ what: "sound", fromSeconds, toSeconds }) as const;

const pictures: readonly AcceptedSource[] = [
  {
    name: "An MP4 with a second of zeros in its picture",
    steps: [`${FILM} {whole.mp4}`, { from: "whole.mp4", to: "a.mp4", edit: zeroed(0, (n) => n >= 50 && n < 75) }],
    ...{ ...MUTE, damage: [picture(2, 3)] },
  },
  {
    name: "A movie whose first half was never written",
    steps: [`${FILM} {whole.mov}`, { from: "whole.mov", to: "a.mov", edit: zeroed(0, (n) => n < 50) }],
    ...{ ...MUTE, damage: [picture(0, 2)] },
    note: "The first good picture stands until its time has come.",
  },
  {
    name: "A movie whose last quarter was never written, with sound",
    steps: [`${HEARD} {whole.mp4}`, { from: "whole.mp4", to: "a.mp4", edit: zeroed(0, (n) => n >= 75) }],
    needs: ["filter:tpad"],
    ...{ ...MUTE, sound: PLAIN_SOUND, damage: [picture(3, 4)] },
    note: "The last good picture stands to the end.",
  },
  {
    name: "ProRes with two thirds of its frames in zeros",
    steps: [
      `${FOUR} ${bt709("yuv422p10le")} -c:v prores_ks {whole.mov}`,
      { from: "whole.mov", to: "a.mov", edit: zeroed(0, (n) => n % 3 > 0 && n < 99) },
    ],
    ...{ ...MUTE, damage: [picture(0.04, 3.96)] },
    note: "Spans that lie within a tenth of a second of each other are one.",
  },
  {
    name: "Matroska with a fifth of its bytes in zeros",
    steps: [
      `${FILM} -cluster_time_limit 500 {whole.mkv}`,
      { from: "whole.mkv", to: "a.mkv", edit: zeroedShare(0.4, 0.6) },
    ],
    ...{ ...MUTE, damage: [picture(1.6, 2.5)] },
  },
  {
    name: "AVI with a fifth of its pictures in zeros",
    steps: [
      `${FOUR} -vf format=yuvj422p -c:v mjpeg -q:v 3 {whole.avi}`,
      { from: "whole.avi", to: "a.avi", edit: zeroedChunks((n) => n >= 40 && n < 60) },
    ],
    ...{ ...MUTE, damage: [picture(1.6, 2.4)] },
  },
  {
    name: "AVI with a tenth of its bytes in zeros, chunk headers and all",
    steps: [
      `${card({ seconds: 6 })} -vf format=yuvj422p -c:v mjpeg -q:v 3 {whole.avi}`,
      { from: "whole.avi", to: "a.avi", edit: zeroedShare(0.4, 0.5) },
    ],
    needs: ["filter:tpad"],
    ...{ ...MUTE, frames: 150, damage: [picture(2.4, 2.44), picture(5.4, 6)] },
    note: "AVI does not say when a picture is shown: what comes behind the hole moves up, and the last one stands to the end.",
  },
  {
    name: "An MP4 whose last tenth was never written, pictures and sound",
    steps: [`${HEARD} -movflags +faststart {whole.mp4}`, { from: "whole.mp4", to: "a.mp4", edit: zeroedShare(0.9, 1) }],
    needs: ["filter:tpad"],
    ...{ ...MUTE, sound: { ...PLAIN_SOUND, is: "stereo, then silence" }, damage: [picture(3.6, 4), sound(3.6, 4)] },
    note: "The last good picture stands to the end.",
  },
  {
    name: "ProRes whose very last frame is zeros",
    steps: [
      `${FOUR} ${bt709("yuv422p10le")} -c:v prores_ks {whole.mov}`,
      { from: "whole.mov", to: "a.mov", edit: zeroed(0, (n) => n === 99) },
    ],
    needs: ["filter:tpad"],
    ...{ ...MUTE, damage: [picture(3.96, 4)] },
  },
  {
    name: "XDCAM-like MPEG-2 in MXF with a tenth of its bytes in zeros",
    steps: [
      `${FOUR} ${bt709("yuv422p")} -c:v mpeg2video -b:v 20M -g 12 {whole.mxf}`,
      { from: "whole.mxf", to: "a.mxf", edit: zeroedShare(0.4, 0.5) },
    ],
    ...{ ...MUTE, timecode: "00:00:00:00", damage: [picture(1.6, 2)] },
  },
  {
    name: "A transport stream with a fifth of its bytes in zeros",
    steps: [`${FILM} {whole.ts}`, { from: "whole.ts", to: "a.ts", edit: zeroedShare(0.4, 0.6) }],
    needs: ["transport-streams"],
    ...{ ...MUTE, damage: [picture(1.6, 2.5)] },
  },
];

const streams: readonly AcceptedSource[] = [
  {
    name: "Flash Video with a fifth of its bytes in zeros",
    steps: [`${HEARD} {whole.flv}`, { from: "whole.flv", to: "a.flv", edit: zeroedShare(0.4, 0.6) }],
    ...{ ...MUTE, sound: PLAIN_SOUND, damage: [picture(1.6, 2.5), sound(1.6, 2.5)] },
  },
  {
    name: "WebM with a fifth of its bytes in zeros",
    steps: [
      `${FOUR} ${SOUND} ${bt709()} -c:v libvpx -b:v 4M -g 25 -c:a libvorbis {whole.webm}`,
      { from: "whole.webm", to: "a.webm", edit: zeroedShare(0.4, 0.6) },
    ],
    needs: ["encoder:libvpx", "encoder:libvorbis"],
    ...{ ...MUTE, sound: PLAIN_SOUND, damage: [picture(1.6, 2.6), sound(1.6, 2.6)] },
  },
];

const sounds: readonly AcceptedSource[] = [
  {
    name: "An MP4 with zeros in the second half of its sound",
    steps: [`${HEARD} {whole.mp4}`, { from: "whole.mp4", to: "a.mp4", edit: zeroed(1, (n) => n >= 94) }],
    ...{ ...MUTE, sound: { ...PLAIN_SOUND, is: "stereo, then silence" }, damage: [sound(2, 4)] },
  },
  {
    name: "AVI whose sound begins three seconds late, which AVI cannot say",
    steps: [
      `${FOUR} -itsoffset 3 ${tones([LEFT_HERTZ, RIGHT_HERTZ], "stereo", 1)} -vf format=yuvj422p -c:v mjpeg -q:v 3 ${AAC} {a.avi}`,
    ],
    ...{ ...MUTE, sound: { ...PLAIN_SOUND, is: "as ffmpeg finds it, at the beginning" }, damage: [sound(1, 4)] },
  },
  {
    name: "An MP4 of whose sound nothing decodes",
    steps: [`${HEARD} {whole.mp4}`, { from: "whole.mp4", to: "a.mp4", edit: zeroed(1, () => true) }],
    ...{ ...MUTE, damage: [sound(0, 4)] },
  },
];

export const damagedSources: readonly SourceGroup<AcceptedSource>[] = [
  { title: "Damaged pictures", sources: pictures },
  { title: "Damaged pictures and sound", sources: streams },
  { title: "Damaged sound", sources: sounds },
];
