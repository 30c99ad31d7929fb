/** The table of sources: pictures that are not the only one of their file, or whose fields, turn or range are not plain. */
import type { AcceptedSource, SourceGroup } from "./accepted-source.ts";
import { bt709, card, X264 } from "./source-file.ts";

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

export const oddPictureSources: readonly SourceGroup<AcceptedSource>[] = [{ title: "Picture tracks", sources: tracks }];
