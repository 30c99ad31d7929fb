/** The table of sources: pictures that are not the only one of their file, or whose fields, turn or range are not plain. */
import type { AcceptedSource, SourceGroup } from "./accepted-source.ts";
import { bt709, card, interlaced, type Step, turned, X264 } from "./source-file.ts";

const R360 = { "360p": "640x360" } as const;
const MUTE = { fps: "25/1", frames: 50, renditions: R360, sound: null } as const;
const FILM = `${card()} ${bt709()} ${X264} {film.mkv}`;
const WITHOUT_THUMBNAIL = { ...MUTE, note: "The thumbnail is left out." } as const;

const tracks: readonly AcceptedSource[] = [
  {
    name: "A thumbnail of one frame as the first and only enabled picture track of an MP4",
    steps: [
      ...[FILM, `${card({ size: "160x120" })} -frames:v 1 -c:v mjpeg -pix_fmt yuvj420p {small.mkv}`],
      "-i {small.mkv} -i {film.mkv} -map 0 -map 1 -c copy -disposition:v:0 default -disposition:v:1 0 {a.mp4}",
    ],
    ...WITHOUT_THUMBNAIL,
  },
  {
    name: "Moving thumbnails as the first, default picture track in Matroska",
    steps: [
      ...[FILM, `${card({ size: "160x90" })} ${bt709()} ${X264} {small.mkv}`],
      "-i {small.mkv} -i {film.mkv} -map 0 -map 1 -c copy -disposition:v:0 default -disposition:v:1 0 {a.mkv}",
    ],
    ...WITHOUT_THUMBNAIL,
  },
  {
    name: "A poster larger than the film, before it, in MOV",
    steps: [
      ...[FILM, `${card({ size: "1280x720" })} -frames:v 1 -c:v mjpeg -pix_fmt yuvj420p {poster.mkv}`],
      "-i {poster.mkv} -i {film.mkv} -map 0 -map 1 -c copy {a.mov}",
    ],
    ...WITHOUT_THUMBNAIL,
  },
  {
    name: "A picture track that is switched off before the one that is shown",
    steps: [
      ...[FILM, `-f lavfi -i color=red:s=640x360:r=25:d=2 ${X264} -pix_fmt yuv420p {off.mkv}`],
      "-i {off.mkv} -i {film.mkv} -map 0 -map 1 -c copy -disposition:v:0 0 -disposition:v:1 default {a.mp4}",
    ],
    ...MUTE,
    note: "The default track is taken, which in MP4 and MOV is the enabled one.",
  },
];

/** A second of frames, and one of fields, in one stream. */
const joined = (codec: string, format: string, extension: string): Step[] => [
  `${card({ seconds: 1 })} ${bt709(format)} ${codec} {frames.${extension}}`,
  `${card({ fps: "50", seconds: 1 })} ${interlaced(format, "tff")} ${codec} -flags +ildct+ilme {fields.${extension}}`,
  {
    from: "",
    to: "list.txt",
    edit: () => Buffer.from(`file frames.${extension}\nduration 1\nfile fields.${extension}\n`),
  },
  `-f concat -i {list.txt} -c copy {a.${extension}}`,
];
const DEINTERLACED = "Frames made of fields are deinterlaced, wherever they begin.";
const UPRIGHT = { ...MUTE, renditions: { "360p": "360x640" }, combs: "upright" } as const;

const fields: readonly AcceptedSource[] = [
  {
    name: "H.264 in MPEG-TS whose first second is progressive, the rest interlaced",
    steps: joined(X264, "yuv420p", "ts"),
    needs: ["transport-streams"],
    ...MUTE,
    note: DEINTERLACED,
  },
  {
    name: "ProRes whose first second is progressive, the rest interlaced",
    steps: joined("-c:v prores_ks -profile:v 2", "yuv422p10le", "mov"),
    ...MUTE,
    note: DEINTERLACED,
  },
  {
    name: "H.264, interlaced and turned by 90° in its metadata",
    steps: [
      `${card({ fps: "50" })} ${interlaced("yuv420p", "tff")} ${X264} -flags +ildct+ilme {flat.mov}`,
      { from: "flat.mov", to: "a.mov", edit: turned(90) },
    ],
    ...UPRIGHT,
    note: "Deinterlaced before it is turned.",
  },
  {
    name: "ProRes, interlaced and turned by 270° in its metadata",
    steps: [
      `${card({ fps: "50" })} ${interlaced("yuv422p10le", "bff")} -c:v prores_ks -profile:v 2 -flags +ildct {flat.mov}`,
      { from: "flat.mov", to: "a.mov", edit: turned(270) },
    ],
    ...UPRIGHT,
    note: "Deinterlaced before it is turned.",
  },
];

/** The card without its colours. */
const grey = (format: string, range: "tv" | "pc") =>
  `-vf scale=out_color_matrix=bt709:out_range=${range},format=yuv444p,extractplanes=y,format=${format},` +
  `setparams=range=${range} -color_range ${range}`;
const X265 = "-c:v libx265 -x265-params log-level=error";

const greys: readonly AcceptedSource[] = [
  {
    name: "Black and white: HEVC 4:0:0, limited range",
    steps: [`${card()} ${grey("gray", "tv")} ${X265} {a.mp4}`],
    needs: ["encoder:libx265"],
    ...{ ...MUTE, colour: "grey" },
  },
  {
    name: "Black and white: FFV1 in Matroska, limited range",
    steps: [`${card()} ${grey("gray", "tv")} -c:v ffv1 {a.mkv}`],
    ...{ ...MUTE, colour: "grey" },
  },
  {
    name: "Black and white: HEVC 4:0:0, full range",
    steps: [`${card()} ${grey("gray", "pc")} ${X265}:range=full {a.mp4}`],
    needs: ["encoder:libx265"],
    ...{ ...MUTE, colour: "grey" },
  },
];

export const oddPictureSources: readonly SourceGroup<AcceptedSource>[] = [
  { title: "Picture tracks", sources: tracks },
  { title: "Fields and turns", sources: fields },
  { title: "Black and white", sources: greys },
];
