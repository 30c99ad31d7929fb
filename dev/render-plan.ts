/** Cuts a stretch of a movie into segments that render nodes can take one each. Pure. */

export type Segment = { startSeconds: number; endSeconds: number };

/**
 * Equal segments that follow one another. Cuts lie half a frame before a frame, so that rounding can neither lose a frame
 * between two segments nor show one twice.
 * @throws RangeError for less than one frame each
 */
export function cutIntoSegments(
  { startSeconds, endSeconds }: Segment,
  { count, fps }: { count: number; fps: number },
): Segment[] {
  const frames = Math.floor((endSeconds - startSeconds) * fps + 1e-6);
  if (frames < count) throw new RangeError(`${count} segments of ${frames} frames`);
  const cutAt = (index: number): number => {
    if (index === 0) return startSeconds;
    if (index === count) return endSeconds;
    return roundedToMicrosecond(startSeconds + (Math.round((index * frames) / count) - 0.5) / fps);
  };
  return Array.from({ length: count }, (_, index) => ({ startSeconds: cutAt(index), endSeconds: cutAt(index + 1) }));
}

/** As exact as ffmpeg's own clock, and short enough to be read. */
const roundedToMicrosecond = (seconds: number) => Math.round(seconds * 1e6) / 1e6;
