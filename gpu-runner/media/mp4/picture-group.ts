/** The first and the last group of pictures of a movie: how many samples each has and when its frames are shown. */
import { CorruptFragmentError } from "./box.ts";
import type { PictureGroup } from "./excerpt.ts";
import { type Movie, placementOf } from "./movie-header.ts";

/** `last` is null where it is the first. */
export function pictureGroups(movie: Movie): { first: PictureGroup; last: PictureGroup | null } {
  const video = movie.tracks.find(({ handler }) => handler === "vide");
  if (!video) throw new CorruptFragmentError("the stream has no video in it");
  const { gap, mediaTime } = placementOf(video, movie.timescale);
  const group = (span: { from: number; to: number }, isFirst: boolean): PictureGroup => {
    const times = video.table.presentationTimes(span);
    // Nobody sees what an edit cuts off, nor what is shown before the keyframe that decoding begins with.
    const begin = isFirst ? mediaTime : Math.max(mediaTime, times[0] ?? 0);
    const shown = times.filter((time) => time >= begin).sort((a, b) => a - b);
    const frameSeconds = shown.map((time) => (time - mediaTime) / video.timescale + gap / movie.timescale);
    return { seekSeconds: isFirst ? null : (frameSeconds[0] ?? 0), samples: span.to - span.from, frameSeconds };
  };
  const { first, last } = video.table.keyframeSpans();
  return { first: group(first, true), last: last && group(last, false) };
}
