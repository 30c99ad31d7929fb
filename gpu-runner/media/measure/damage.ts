/**
 * Which packets of a source came to nothing. Read from ffmpeg's `framecrc` of one pass in which each track is both copied
 * and decoded: a packet in whose time nothing was decoded is damage. Pure; `damage-pass.ts` runs the pass.
 */
import { mostDamageSpans, type SourceDamage } from "../../../schemas/source-damage.ts";

export type DamageReport = {
  damage: SourceDamage[];
  /** Of the picture's time, how much decodes. */
  pictureShare: number;
  /** From when on there is no picture any more, though there are packets; in the renditions' time. */
  pictureEndSeconds: number;
  /** When the last packet's picture would have ended. */
  trackEndSeconds: number;
  /** Of each sound track that was asked for, how much decodes. */
  soundShares: number[];
};

/** One packet or what was decoded of it; seconds from the file's start. */
export type Moment = { atSeconds: number; lastsSeconds: number };

export type PassTracks = {
  picture: { packets: Moment[]; decoded: Moment[]; areTimed: boolean };
  sounds: { packets: Moment[]; decoded: Moment[] }[];
};

export type DamageTerms = {
  frameSeconds: number;
  /** Where the rendition begins, of the file's time. */
  startSeconds: number;
  /** Of the picture, in the file's time, where that is known; else 0. */
  expectedEndSeconds: number;
  /**
   * A packet that is not there is damage, too: at a constant rate, in containers whose packets are found one after another. An
   * index knows of each packet, and of pauses.
   */
  mayLackPackets: boolean;
  /** A packet's place is all that tells its time: behind lost ones, what is left moves up, and only the end lacks. */
  movesUp: boolean;
  /** A stream may begin and end in the middle: what comes before its first picture, and a broken last one, are no damage. */
  isExcerpt: boolean;
};

/** Takes `framecrc`'s lines one by one: a track's copy has an even number, what was decoded of it the next. */
export class PassReader {
  private readonly tickSeconds = new Map<number, number>();
  private readonly moments = new Map<number, Moment[]>();
  private untimed = false;

  line(text: string): void {
    const clock = /^#tb (\d+): (\d+)\/(\d+)/.exec(text);
    if (clock) this.tickSeconds.set(Number(clock[1]), Number(clock[2]) / Number(clock[3]));
    const packet = /^(\d+), +(-?\d+|NOPTS), +(-?\d+|NOPTS), +(-?\d+),/.exec(text);
    if (!packet) return;
    const track = Number(packet[1]);
    const tick = this.tickSeconds.get(track) ?? 0;
    const [decodedAt, shownAt, lasts] = [packet[2], packet[3], packet[4]].map((field) => Number(field) * tick) as [
      number,
      number,
      number,
    ];
    const isTimed = Number.isFinite(shownAt) && Math.abs(shownAt) < FAR_SECONDS;
    if (track === 0 && !isTimed) this.untimed = true;
    const moments = this.moments.get(track) ?? [];
    moments.push({ atSeconds: isTimed ? shownAt : decodedAt, lastsSeconds: Math.max(0, lasts) });
    this.moments.set(track, moments);
  }

  tracks(soundTracks: number): PassTracks {
    const of = (track: number) => (this.moments.get(track) ?? []).toSorted((a, b) => a.atSeconds - b.atSeconds);
    return {
      picture: { packets: of(0), decoded: of(1), areTimed: !this.untimed },
      sounds: Array.from({ length: soundTracks }, (_, i) => ({ packets: of(2 + 2 * i), decoded: of(3 + 2 * i) })),
    };
  }
}

/** What stands for "no time" is ages away. */
const FAR_SECONDS = 1e9;
/** Recorders leave out less. */
const LEAST_SOUND_HOLE_SECONDS = 0.1;
/** Spans that lie so close together are one. */
const CLOSE_SECONDS = 0.1;

type Span = { fromSeconds: number; toSeconds: number };

export function judgePass({ picture, sounds }: PassTracks, terms: DamageTerms): DamageReport {
  const { startSeconds, frameSeconds } = terms;
  const lost = [...lostPictures(picture, terms), ...missingPackets(picture.packets, terms)];
  const lostSeconds = lost.reduce((sum, { fromSeconds, toSeconds }) => sum + toSeconds - fromSeconds, 0);
  const pictureSpans = joined(lost, CLOSE_SECONDS);
  const heard = sounds.map((sound) => lostSound(sound, terms));
  const soundSpans = joined(
    heard.flatMap(({ spans }) => spans),
    CLOSE_SECONDS,
  );
  const endOf = (moments: readonly Moment[]) =>
    (moments.at(-1)?.atSeconds ?? startSeconds - frameSeconds) + frameSeconds;
  const trackEndSeconds = Math.max(endOf(picture.packets), terms.expectedEndSeconds) - startSeconds;
  const inTime = (spans: readonly Span[], what: SourceDamage["what"]) =>
    fewest(spans).flatMap(({ fromSeconds, toSeconds }): SourceDamage[] => {
      const [from, to] = [fromSeconds, toSeconds].map((at) => Math.round(Math.max(0, at - startSeconds) * 1000) / 1000);
      return from !== undefined && to !== undefined && to > from ? [{ fromSeconds: from, toSeconds: to, what }] : [];
    });
  return {
    damage: [...inTime(pictureSpans, "picture"), ...inTime(soundSpans, "sound")],
    pictureShare: picture.decoded.length === 0 ? 0 : 1 - lostSeconds / Math.max(trackEndSeconds, frameSeconds),
    pictureEndSeconds: endOf(picture.decoded) - startSeconds,
    trackEndSeconds,
    soundShares: heard.map(({ share }) => share),
  };
}

function lostPictures({ packets, decoded, areTimed }: PassTracks["picture"], terms: DamageTerms): Span[] {
  // Without times of their own, packets are where they are decoded: up to two frames before they are shown.
  const tolerance = terms.frameSeconds * (areTimed ? 0.6 : 2.6);
  const first = terms.isExcerpt ? (decoded[0]?.atSeconds ?? 0) : terms.startSeconds;
  const last = terms.isExcerpt ? (packets.at(-1)?.atSeconds ?? 0) - 1.5 * terms.frameSeconds : Number.POSITIVE_INFINITY;
  let next = 0;
  const lost = packets.filter(({ atSeconds }) => {
    if (atSeconds < first - tolerance || atSeconds > last) return false;
    while (next < decoded.length && (decoded[next]?.atSeconds ?? 0) < atSeconds - tolerance) next++;
    return (decoded[next]?.atSeconds ?? Number.POSITIVE_INFINITY) > atSeconds + tolerance;
  });
  return lost.map(({ atSeconds }) => ({ fromSeconds: atSeconds, toSeconds: atSeconds + terms.frameSeconds }));
}

function missingPackets(packets: readonly Moment[], terms: DamageTerms): Span[] {
  if (!terms.mayLackPackets) return [];
  const { frameSeconds, expectedEndSeconds } = terms;
  const turns = packets.map(({ atSeconds }) => atSeconds);
  const ends = expectedEndSeconds > (turns.at(-1) ?? 0) + 3 * frameSeconds ? [...turns, expectedEndSeconds] : turns;
  return ends.flatMap((at, i) => {
    if (terms.movesUp && i < turns.length) return [];
    const before = ends[i - 1];
    const isHole = before !== undefined && at - before > 1.5 * frameSeconds;
    return isHole ? [{ fromSeconds: before + frameSeconds, toSeconds: at }] : [];
  });
}

function lostSound(
  { packets, decoded }: PassTracks["sounds"][number],
  { startSeconds, isExcerpt, mayLackPackets, movesUp }: DamageTerms,
): { spans: Span[]; share: number } {
  const from = isExcerpt ? Math.max(startSeconds, decoded[0]?.atSeconds ?? 0) : startSeconds;
  const whole = isExcerpt && decoded.length > 0 ? packets.slice(0, -1) : packets;
  const due = whole.filter(({ atSeconds, lastsSeconds }) => lastsSeconds > 0 && atSeconds >= from);
  let next = 0;
  const lost = due.filter(({ atSeconds, lastsSeconds }) => {
    const middle = atSeconds + lastsSeconds / 2;
    const endOf = (moment: Moment | undefined) => (moment ? moment.atSeconds + moment.lastsSeconds : 0);
    while (next < decoded.length && endOf(decoded[next]) < middle) next++;
    return (decoded[next]?.atSeconds ?? Number.POSITIVE_INFINITY) > middle;
  });
  const spans = lost.map(({ atSeconds, lastsSeconds }) => ({
    fromSeconds: atSeconds,
    toSeconds: atSeconds + lastsSeconds,
  }));
  const holes = due.flatMap(({ atSeconds }, i) => {
    const before = due[i - 1];
    const fromSeconds = before === undefined ? atSeconds : before.atSeconds + before.lastsSeconds;
    return mayLackPackets && !movesUp && atSeconds - fromSeconds > LEAST_SOUND_HOLE_SECONDS
      ? [{ fromSeconds, toSeconds: atSeconds }]
      : [];
  });
  return {
    spans: [...spans, ...holes],
    share: due.length === 0 ? 1 : 1 - lost.length / due.length,
  };
}

function joined(spans: readonly Span[], closeSeconds: number): Span[] {
  const all: Span[] = [];
  for (const span of spans.toSorted((a, b) => a.fromSeconds - b.fromSeconds)) {
    const last = all.at(-1);
    if (last && span.fromSeconds <= last.toSeconds + closeSeconds) {
      last.toSeconds = Math.max(last.toSeconds, span.toSeconds);
    } else all.push({ ...span });
  }
  return all;
}

/** Where there are too many to list, neighbours become one. */
function fewest(spans: readonly Span[]): readonly Span[] {
  let [left, closeSeconds] = [spans, CLOSE_SECONDS];
  while (left.length > mostDamageSpans / 2) {
    closeSeconds *= 2;
    left = joined(left, closeSeconds);
  }
  return left;
}
