/** Where a sound's channels belong, and how loud each of them is in a mix to stereo. Pure. */

/** Gains, of full scale, on the left and on the right. */
export type StereoGain = readonly [left: number, right: number];

export const LEFT: StereoGain = [1, 0];
export const RIGHT: StereoGain = [0, 1];
/** Its own level on both sides. */
export const BOTH: StereoGain = [1, 1];

/** 3 dB less, as ITU-R BS.775 has centre and surround. */
const M3DB = Math.SQRT1_2;
const CENTRE: StereoGain = [M3DB, M3DB];
const LEFT_AROUND: StereoGain = [M3DB, 0];
const RIGHT_AROUND: StereoGain = [0, M3DB];
const BEHIND: StereoGain = [0.5, 0.5];
const NOWHERE: StereoGain = [0, 0];

/** By ffmpeg's names. A subwoofer's channel is effects only, and no small speaker plays it. */
const PLACES: Readonly<Record<string, StereoGain>> = {
  ...{ FL: LEFT, FR: RIGHT, FC: CENTRE, LFE: NOWHERE, LFE2: NOWHERE, DL: LEFT, DR: RIGHT },
  ...{ BL: LEFT_AROUND, BR: RIGHT_AROUND, BC: BEHIND, SL: LEFT_AROUND, SR: RIGHT_AROUND },
  ...{ FLC: LEFT_AROUND, FRC: RIGHT_AROUND, WL: LEFT_AROUND, WR: RIGHT_AROUND, SDL: LEFT_AROUND, SDR: RIGHT_AROUND },
  ...{ TFL: LEFT_AROUND, TFR: RIGHT_AROUND, TBL: LEFT_AROUND, TBR: RIGHT_AROUND, TSL: LEFT_AROUND, TSR: RIGHT_AROUND },
  ...{ TFC: BEHIND, TBC: BEHIND, TC: BEHIND, BFC: BEHIND, BFL: LEFT_AROUND, BFR: RIGHT_AROUND },
};

/** As `ffmpeg -layouts` lists them, those of later versions included. */
const LAYOUTS: Readonly<Record<string, string>> = {
  ...{ mono: "FC", stereo: "FL+FR", "2.1": "FL+FR+LFE", "3.0": "FL+FR+FC", "3.0(back)": "FL+FR+BC" },
  ...{ "4.0": "FL+FR+FC+BC", quad: "FL+FR+BL+BR", "quad(side)": "FL+FR+SL+SR", "3.1": "FL+FR+FC+LFE" },
  ...{ "5.0": "FL+FR+FC+BL+BR", "5.0(side)": "FL+FR+FC+SL+SR", "4.1": "FL+FR+FC+LFE+BC" },
  ...{ "5.1": "FL+FR+FC+LFE+BL+BR", "5.1(side)": "FL+FR+FC+LFE+SL+SR" },
  ...{ "6.0": "FL+FR+FC+BC+SL+SR", "6.0(front)": "FL+FR+FLC+FRC+SL+SR", hexagonal: "FL+FR+FC+BL+BR+BC" },
  ...{ "6.1": "FL+FR+FC+LFE+BC+SL+SR", "6.1(back)": "FL+FR+FC+LFE+BL+BR+BC" },
  ...{ "6.1(front)": "FL+FR+LFE+FLC+FRC+SL+SR", "7.0": "FL+FR+FC+BL+BR+SL+SR" },
  ...{ "7.0(front)": "FL+FR+FC+FLC+FRC+SL+SR", "7.1": "FL+FR+FC+LFE+BL+BR+SL+SR" },
  ...{ "7.1(wide)": "FL+FR+FC+LFE+BL+BR+FLC+FRC", "7.1(wide-side)": "FL+FR+FC+LFE+FLC+FRC+SL+SR" },
  ...{ "7.1(top)": "FL+FR+FC+LFE+BL+BR+TFL+TFR", "5.1.2": "FL+FR+FC+LFE+SL+SR+TFL+TFR" },
  ...{ "5.1.2(back)": "FL+FR+FC+LFE+BL+BR+TFL+TFR", "5.1.4": "FL+FR+FC+LFE+SL+SR+TFL+TFR+TBL+TBR" },
  ...{ "7.1.2": "FL+FR+FC+LFE+BL+BR+SL+SR+TFL+TFR", "7.1.4": "FL+FR+FC+LFE+BL+BR+SL+SR+TFL+TFR+TBL+TBR" },
  ...{ octagonal: "FL+FR+FC+BL+BR+BC+SL+SR", cube: "FL+FR+BL+BR+TFL+TFR+TBL+TBR", downmix: "DL+DR" },
  hexadecagonal: "FL+FR+FC+BL+BR+BC+SL+SR+TFL+TFC+TFR+TBL+TBC+TBR+WL+WR",
  "22.2": "FL+FR+FC+LFE+BL+BR+FLC+FRC+BC+SL+SR+TC+TFL+TFC+TFR+TBL+TBC+TBR+LFE2+TSL+TSR+BFC+BFL+BFR",
};

/** The places of a layout's channels, in their order; null where a channel has none, as a microphone's has. */
export function placesOf(layout: string | null | undefined): string[] | null {
  const places = (LAYOUTS[layout ?? ""] ?? layout ?? "").split("+");
  return places.every((place) => PLACES[place] !== undefined) ? places : null;
}

/** @returns a gain for each of so many channels; null where the layout does not place them all */
export function gainsOf(layout: string | null | undefined, channels: number): StereoGain[] | null {
  if (channels === 1) return [BOTH];
  const gains = ambisonicGains(layout) ?? placesOf(layout)?.map((place) => PLACES[place] ?? NOWHERE);
  if (gains?.length === channels) return gains;
  return channels === 2 ? [LEFT, RIGHT] : null;
}

/**
 * Ambisonics, W Y Z X … (ACN, SN3D): two microphones that face left and right. W is what is heard all around, Y what is left less
 * what is right; the others tell above and before.
 */
function ambisonicGains(layout: string | null | undefined): StereoGain[] | null {
  const found = /^ambisonic (\d)(?:\+(.+))?$/.exec(layout ?? "");
  if (found === null) return null;
  const others = Array.from({ length: (Number(found[1]) + 1) ** 2 - 2 }, () => NOWHERE);
  const beside = found[2] === undefined ? [] : (placesOf(found[2]) ?? []).map((place) => PLACES[place] ?? NOWHERE);
  return [CENTRE, [0.5, -0.5], ...others, ...beside];
}

/** The gain of a place that a track of one channel is labelled with. */
export const gainOfPlace = (place: string): StereoGain => PLACES[place] ?? NOWHERE;
