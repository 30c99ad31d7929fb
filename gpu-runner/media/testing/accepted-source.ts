/** What is known of a source that becomes renditions: how it is made, and what must come out. */
import type { Quality } from "../../../schemas/ladder.ts";
import type { SourceDamage } from "../../../schemas/source-damage.ts";
import type { Need } from "./ffmpeg-ability.ts";
import type { Step } from "./source-file.ts";

export type Sound = {
  /** For people. */
  is: string;
  /** Tones that must be heard on each side; all others of the table must not. */
  left: readonly number[];
  right: readonly number[];
  startsSeconds?: number;
  /** How loud a tone that is heard on both sides is there, of full scale; within a decibel. */
  levels?: readonly (readonly [hertz: number, left: number, right: number])[];
};

export type AcceptedSource = {
  /** For people, and for the test's name. */
  name: string;
  steps: readonly Step[];
  needs?: readonly Need[];
  renditions: Partial<Record<Quality, string>>;
  /** As ffprobe spells it. */
  fps: string;
  frames: number;
  /** Length of the longest track; frames / fps where nothing else is said. */
  seconds?: number;
  sound: Sound | null;
  timecode?: string;
  /** How close the picture's mean must be to the card's. */
  colour?: "tone-mapped" | "grey" | "unchecked";
  /** Combs that were turned with the picture would stand upright. */
  combs?: "upright";
  /** What must be told of it, within half a second. */
  damage?: readonly SourceDamage[];
  /** Becomes a sentence of the report. */
  note?: string;
};

export type SourceGroup<Source> = { title: string; sources: readonly Source[] };
