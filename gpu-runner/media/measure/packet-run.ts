/** Runs of frames from ffprobe's packets, as its compact lines say them. Pure. */

export type PacketLine = {
  shownSeconds: number | null;
  decodedSeconds: number | null;
  durationSeconds: number | null;
  position: number | null;
};

/** What `packetLines` asks ffprobe for, in this order. */
export const PACKET_FIELDS = "packet=pts_time,dts_time,duration_time,pos";

/** ffprobe leaves out no field: "N/A" stands for one that is not known. */
export function readPacketLine(line: string): PacketLine | null {
  const fields = line.trim().split(",");
  if (fields.length < 4) return null;
  const [shownSeconds = null, decodedSeconds = null, durationSeconds = null, position = null] = fields.map((field) => {
    const value = Number.parseFloat(field);
    return Number.isFinite(value) ? value : null;
  });
  return { shownSeconds, decodedSeconds, durationSeconds, position };
}

/** A pause this long is no interval, and what follows a jump back was read at another place. */
const LONGEST_INTERVAL_SECONDS = 2.5;
/** Where no packet says when it is decoded, frames of a frame a second that are reordered may be so far from each other. */
const REORDERED_SECONDS = 5;

/**
 * @param isWhole whether the packets are all that the file has
 * @returns each run in the order of showing. Frames at a run's end whose neighbours were not read yet are left out.
 */
export function runsOf(packets: readonly PacketLine[], isWhole: boolean): Float64Array[] {
  const runs: { shown: number[]; decodedTo: number | null }[] = [];
  const isTimedByShowing = packets.every(({ decodedSeconds }) => decodedSeconds === null);
  const [leastStep, longestStep] = isTimedByShowing
    ? [-REORDERED_SECONDS, REORDERED_SECONDS]
    : [0, LONGEST_INTERVAL_SECONDS];
  for (const { shownSeconds, decodedSeconds } of packets) {
    // AVI and GXF know when a frame is decoded alone: their frames follow one another at the same pace.
    const at = shownSeconds ?? decodedSeconds;
    if (at === null) continue;
    // Matroska does not say it of the first reordered frames: those go with the run that they are in.
    const order = isTimedByShowing ? at : decodedSeconds;
    let run = runs.at(-1);
    const step = order === null || run?.decodedTo == null ? 0 : order - run.decodedTo;
    if (run === undefined || step < leastStep || step > longestStep) {
      run = { shown: [], decodedTo: order };
      runs.push(run);
    }
    run.shown.push(at);
    run.decodedTo = order ?? run.decodedTo;
  }
  return runs
    .map(({ shown, decodedTo }) => {
      const kept = isWhole ? shown : shown.filter((at) => decodedTo === null || at <= decodedTo);
      return Float64Array.from(kept.length > 1 ? kept : shown).sort();
    })
    .filter((run) => run.length > 1);
}

/** Where packets have no times, as in a bare stream of H.264, their lengths one after another are the film's. */
export function lengthOfPackets(packets: readonly PacketLine[], fallbackSeconds: number): number {
  const times = packets.flatMap(({ shownSeconds, durationSeconds }) =>
    shownSeconds === null ? [] : [[shownSeconds, shownSeconds + (durationSeconds ?? 0)] as const],
  );
  if (times.length > 0) return Math.max(...times.map(([, end]) => end)) - Math.min(...times.map(([start]) => start));
  return packets.reduce((sum, { durationSeconds }) => sum + (durationSeconds ?? fallbackSeconds), 0);
}
