import { expect, test } from "vitest";
import { heardSound } from "./heard-sound.ts";
import type { AudioTrack } from "./media-probe.ts";

const track = (changes: Partial<AudioTrack> = {}): AudioTrack => ({
  codec: "pcm_s24le",
  channels: 1,
  layout: "mono",
  sampleRateHz: 48_000,
  language: null,
  ...changes,
});
const stereo = track({ channels: 2, layout: "stereo" });
const undecodable = track({ codec: "unknown" });

test.each<[string, AudioTrack[], ReturnType<typeof heardSound>]>([
  ["nothing", [], null],
  ["nothing that can be decoded", [undecodable, track({ channels: 0 })], null],
  ["one mono track", [track()], { kind: "downmix", track: 0 }],
  ["the first that can be decoded", [undecodable, stereo, stereo], { kind: "downmix", track: 1 }],
  ["two mono tracks of a camera", [track(), track()], { kind: "spread", tracks: [0, 1], channels: 2 }],
  [
    "mono tracks around an unknown one",
    [track(), undecodable, track()],
    { kind: "spread", tracks: [0, 2], channels: 2 },
  ],
  ["mono versions", [track({ language: "eng" }), track({ language: "fra" })], { kind: "downmix", track: 0 }],
  [
    "mono tracks of one language",
    [track({ language: "eng" }), track()],
    { kind: "spread", tracks: [0, 1], channels: 2 },
  ],
  ["a mono track before a stereo one", [track(), stereo], { kind: "downmix", track: 0 }],
  ["5.1", [track({ channels: 6, layout: "5.1(side)" })], { kind: "downmix", track: 0 }],
  ["four discrete channels", [track({ channels: 4, layout: null })], { kind: "spread", tracks: [0], channels: 4 }],
  [
    "a layout with a ceiling",
    [track({ channels: 12, layout: "7.1.4" })],
    { kind: "spread", tracks: [0], channels: 12 },
  ],
])("%s", (_, audio, heard) => {
  expect(heardSound(audio)).toEqual(heard);
});

test("no more than sixteen mono tracks are brought together", () => {
  expect(heardSound(Array.from({ length: 24 }, () => track()))).toMatchObject({ channels: 16 });
});
