/** From a stretch of time to the samples of a track that a reader needs for it, and to their bytes. Pure. */
import type { Track } from "./movie-track.ts";
import { unreadable } from "./whole-reason.ts";

/** Inclusive, as HTTP has it. */
export interface ByteSpan {
  from: number;
  to: number;
}

/** Readers seek a little early (ffmpeg's -ss does), and sound needs a run-up. */
const VIDEO_LEAD_SECONDS = 0.25;
const OTHER_LEAD_SECONDS = 0.5;
const MOST_SPANS = 20_000;

interface Run {
  firstSample: number;
}

/** The last run that begins at or before the sample. */
function runOf<R extends Run>(runs: readonly R[], sample: number): R | undefined {
  let low = 0;
  let high = runs.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((runs[middle]?.firstSample ?? 0) <= sample) low = middle + 1;
    else high = middle;
  }
  return runs[low - 1];
}

function decodeTime(track: Track, sample: number): number {
  const run = runOf(track.times, sample);
  return run === undefined ? 0 : run.firstTime + (sample - run.firstSample) * run.delta;
}

const displayTime = (track: Track, sample: number) =>
  decodeTime(track, sample) + (runOf(track.offsets, sample)?.offset ?? 0);

/** The last sample that is decoded at or before this time. */
function sampleAt(track: Track, time: number): number {
  let found = 0;
  for (const { firstSample, firstTime, delta } of track.times) {
    if (firstTime > time) break;
    found = delta === 0 ? firstSample : firstSample + Math.floor((time - firstTime) / delta);
  }
  // A run's arithmetic may point past its end.
  let low = Math.min(found, track.sampleCount - 1);
  while (low > 0 && decodeTime(track, low) > time) low -= 1;
  return low;
}

function isSync({ syncSamples }: Track, sample: number): boolean {
  if (syncSamples === null) return true;
  let low = 0;
  let high = syncSamples.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((syncSamples[middle] ?? 0) < sample) low = middle + 1;
    else high = middle;
  }
  return syncSamples[low] === sample;
}

/** @param fromTime less the lead already, in the track's own time */
function samplesOf(track: Track, fromTime: number, toTime: number): { first: number; last: number } | null {
  if (track.sampleCount === 0) return null;
  const lowest = track.offsets.reduce((least, { offset }) => Math.min(least, offset), 0);
  let first = sampleAt(track, fromTime - lowest);
  while (first > 0 && !(isSync(track, first) && displayTime(track, first) <= fromTime)) first -= 1;
  // What is shown before the end, with all that is decoded for it; and what a reader that stops by decode time reads.
  let last = sampleAt(track, toTime - lowest);
  while (last > first && decodeTime(track, last) >= toTime && displayTime(track, last) >= toTime) last -= 1;
  return { first, last };
}

function bytesOf(track: Track, { first, last }: { first: number; last: number }, spans: ByteSpan[]): void {
  const begin = runOf(track.chunks, first);
  if (begin === undefined) return;
  let run = track.chunks.indexOf(begin);
  let chunk = begin.firstChunk + Math.floor((first - begin.firstSample) / begin.samplesPerChunk);
  let sample = begin.firstSample + (chunk - begin.firstChunk) * begin.samplesPerChunk;
  for (; sample <= last && chunk < track.chunkCount; chunk++) {
    const next = track.chunks[run + 1];
    if (next !== undefined && next.firstChunk === chunk) run += 1;
    const count = track.chunks[run]?.samplesPerChunk ?? 1;
    const from = Math.max(first, sample);
    const to = Math.min(last, sample + count - 1);
    const start = track.chunkOffset(chunk) + sizeOfSamples(track, sample, from);
    const length = sizeOfSamples(track, from, to + 1);
    if (length > 0) spans.push({ from: start, to: start + length - 1 });
    if (spans.length > MOST_SPANS) throw unreadable("its samples lie too far apart");
    sample += count;
  }
}

function sizeOfSamples(track: Track, from: number, before: number): number {
  if (track.uniformBytes !== null) return track.uniformBytes * (before - from);
  let bytes = 0;
  for (let sample = from; sample < before; sample++) bytes += track.sizeOf(sample);
  return bytes;
}

/** Sorted, without overlaps; what touches is one. */
export function merged(spans: readonly ByteSpan[]): ByteSpan[] {
  const joined: ByteSpan[] = [];
  for (const { from, to } of [...spans].sort((a, b) => a.from - b.from)) {
    const last = joined.at(-1);
    if (last !== undefined && from <= last.to + 1) last.to = Math.max(last.to, to);
    else joined.push({ from, to });
  }
  return joined;
}

/** @throws WholeOnly when the index points outside the file */
export function spansOfTime(
  tracks: readonly Track[],
  range: { startSeconds: number; endSeconds: number },
  fileBytes: number,
): ByteSpan[] {
  const spans: ByteSpan[] = [];
  // A reader seeks by the picture, and reads all tracks from its keyframe on.
  let othersFrom = range.startSeconds - OTHER_LEAD_SECONDS;
  for (const track of [...tracks].sort((a, b) => Number(b.isVideo) - Number(a.isVideo))) {
    const leadSeconds = track.isVideo ? VIDEO_LEAD_SECONDS : range.startSeconds - othersFrom;
    for (const edit of track.edits) {
      const start = Math.max(range.startSeconds, edit.startSeconds);
      const end = Math.min(range.endSeconds, edit.endSeconds);
      if (start >= end) continue;
      const mediaTime = (seconds: number) => edit.mediaTime + (seconds - edit.startSeconds) * track.timescale;
      // What lies before an edit is not shown, but sound is decoded from there.
      const samples = samplesOf(track, mediaTime(start) - leadSeconds * track.timescale, mediaTime(end));
      if (samples === null) continue;
      bytesOf(track, samples, spans);
      const firstSeconds = (decodeTime(track, samples.first) - edit.mediaTime) / track.timescale + edit.startSeconds;
      if (track.isVideo) othersFrom = Math.min(othersFrom, firstSeconds);
    }
  }
  const joined = merged(spans);
  if ((joined.at(-1)?.to ?? 0) >= fileBytes) throw unreadable("the index points beyond the file's end");
  return joined;
}
