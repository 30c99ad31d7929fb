/** Which of a file's picture tracks is the film. Pure; `media-probe.ts` asks it. */
/** What the rule asks of a stream, as ffprobe states it. */
export type StatedTrack = {
  index?: number | undefined;
  codec_type?: string | undefined;
  codec_name?: string | undefined;
  width?: number | undefined;
  height?: number | undefined;
  duration?: number | undefined;
  nb_frames?: number | undefined;
  disposition?: Record<string, number> | undefined;
  tags?: Record<string, string> | undefined;
};

type Programme = { program_id: number; streams: readonly { index?: number | undefined }[] };

type Tracks<Track extends StatedTrack> = { streams: readonly Track[]; programs?: readonly Programme[] | undefined };

export type PictureTrack<Track extends StatedTrack> = {
  video: Track;
  /** In words, where there was a choice. */
  why: string | null;
};

/** Below these shares of the longest, the fullest and the largest track, a track is a poster or a row of thumbnails. */
const LEAST_SHARE = { duration: 0.5, frames: 0.1, area: 0.25 };

/**
 * The rule, in its order: no cover, poster or thumbnails; one that can be decoded; the default one, which in MP4 and MOV is
 * the enabled one; one of a programme; the longest; the largest; the first.
 */
export function choosePicture<Track extends StatedTrack>({
  streams,
  programs = [],
}: Tracks<Track>): PictureTrack<Track> | null {
  const all = streams.filter(({ codec_type: type }) => type === "video");
  const inProgramme = new Set(programs.flatMap((programme) => programme.streams.map(({ index }) => index)));
  let left = all.filter((track) => !isCover(track));
  let why: string | null = null;
  const narrow = (reason: string, kept: Track[]) => {
    if (kept.length === 0 || kept.length === left.length) return;
    left = kept;
    why = reason;
  };
  if (left.length < all.length) why = "the others are covers or thumbnails";
  narrow("the others are posters or thumbnails", withoutPosters(left));
  narrow("it is the one that can be decoded", left.filter(isDecodable));
  narrow(
    "it is the default track",
    left.filter(({ disposition }) => disposition?.default === 1),
  );
  narrow(
    "it belongs to a programme",
    left.filter(({ index }) => index !== undefined && inProgramme.has(index)),
  );
  narrow("it is the longest", most(left, secondsOf, 1));
  narrow("it is the largest", most(left, areaOf, 0));
  const [video] = left;
  if (video === undefined) return null;
  if (left.length > 1) why = "it is the first of several alike";
  return { video, why };
}

/** The streams of the programme that a stream belongs to; null without programmes. */
export function programmeOf(
  { programs = [] }: Pick<Tracks<StatedTrack>, "programs">,
  index: number | undefined,
): ReadonlySet<number> | null {
  const programme = programs.find(({ streams }) => streams.some((stream) => stream.index === index));
  if (index === undefined || programme === undefined) return null;
  return new Set(programme.streams.flatMap((stream) => (stream.index === undefined ? [] : [stream.index])));
}

function isCover({ disposition = {} }: StatedTrack): boolean {
  return [disposition.attached_pic, disposition.timed_thumbnails, disposition.still_image].includes(1);
}

/** A cover is left out whatever it measures; what is left is judged against the longest, then the largest of these. */
function withoutPosters<Track extends StatedTrack>(tracks: readonly Track[]): Track[] {
  const longest = atLeast(LEAST_SHARE.duration, tracks, secondsOf);
  const moving = atLeast(LEAST_SHARE.frames, longest, framesOf);
  return atLeast(LEAST_SHARE.area, moving, areaOf);
}

/** Those with at least `share` of the most; what a track does not state is not held against it. */
function atLeast<Track extends StatedTrack>(
  share: number,
  tracks: readonly Track[],
  measure: (track: StatedTrack) => number | undefined,
): Track[] {
  const greatest = Math.max(0, ...tracks.map((track) => measure(track) ?? 0));
  return tracks.filter((track) => (measure(track) ?? greatest) >= share * greatest);
}

/** Those that have the most, give or take `tolerance`. */
function most<Track extends StatedTrack>(
  tracks: readonly Track[],
  measure: (track: StatedTrack) => number | undefined,
  tolerance: number,
): Track[] {
  const greatest = Math.max(0, ...tracks.map((track) => measure(track) ?? 0));
  return tracks.filter((track) => (measure(track) ?? greatest) >= greatest - tolerance);
}

function isDecodable({ codec_name: name, width, height }: StatedTrack): boolean {
  return name !== undefined && name !== "unknown" && (width ?? 0) > 0 && (height ?? 0) > 0;
}

const areaOf = ({ width, height }: StatedTrack) => (width && height ? width * height : undefined);

const secondsOf = ({ duration, tags }: StatedTrack) =>
  duration !== undefined && duration > 0 ? duration : secondsOfTag(tags?.DURATION);

function framesOf({ nb_frames: stated, tags }: StatedTrack): number | undefined {
  const frames = Number.isFinite(stated) ? stated : Number(tags?.NUMBER_OF_FRAMES ?? Number.NaN);
  return Number.isFinite(frames) ? frames : undefined;
}

/** Matroska keeps a track's end in a tag, "00:00:30.033000000". */
export function secondsOfTag(tag: string | undefined): number | undefined {
  const match = /^(\d+):(\d{2}):(\d{2}(?:\.\d+)?)$/.exec(tag ?? "");
  return match ? Number(match[1]) * 3600 + Number(match[2]) * 60 + Number(match[3]) : undefined;
}
