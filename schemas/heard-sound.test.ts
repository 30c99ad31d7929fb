import { expect, test } from "vitest";
import type { AudioTrack } from "./audio-track.ts";
import { heardSound } from "./heard-sound.ts";

const track = (changes: Partial<AudioTrack> = {}): AudioTrack => ({
  codec: "pcm_s24le",
  channels: 1,
  layout: "mono",
  sampleRateHz: 48_000,
  language: null,
  ...changes,
});
const stereo = (changes: Partial<AudioTrack> = {}) => track({ channels: 2, layout: "stereo", ...changes });
const discrete = (channels: number, silentChannels?: number[]) =>
  track({ channels, layout: null, ...(silentChannels ? { silentChannels } : {}) });
const undecodable = track({ codec: "unknown" });
const silent = track({ silentChannels: [0] });
const labelled = (...layouts: string[]) => layouts.map((layout) => track({ layout }));

/** Which tracks, and for each channel how loud on both sides, in hundredths. */
const heardOf = (audio: AudioTrack[]) => {
  const heard = heardSound(audio);
  const gains = heard?.gains.map((sides) => sides.map((gain) => Math.round(gain * 100)).join("/")).join(" ");
  return heard === null ? null : `${heard.tracks.join()}: ${gains}`;
};

test.each<[string, AudioTrack[], string | null]>([
  ["nothing", [], null],
  ["nothing that can be decoded", [undecodable, track({ channels: 0 })], null],
  ["one mono track", [track()], "0: 100/100"],
  ["stereo", [stereo()], "0: 100/0 0/100"],
  ["two channels without places", [discrete(2)], "0: 100/0 0/100"],
  ["two channels at odd places", [stereo({ layout: "FL+FC" })], "0: 100/0 71/71"],
  ["5.1", [track({ channels: 6, layout: "5.1(side)" })], "0: 100/0 0/100 71/71 0/0 71/0 0/71"],
  ["a layout that states another number of channels", [track({ channels: 3, layout: "5.1" })], "0: 71/0 0/100 71/0"],
  ["ambisonics", [track({ channels: 4, layout: "ambisonic 1" })], "0: 71/71 50/-50 0/0 0/0"],
  ["four discrete channels", [discrete(4)], "0: 71/0 0/71 71/0 0/71"],
  [
    "eight discrete channels, two with sound",
    [discrete(8, [0, 1, 3, 4, 6, 7])],
    "0: 0/0 0/0 100/0 0/0 0/0 0/100 0/0 0/0",
  ],
  ["discrete channels with sound on one side", [discrete(4, [1, 3])], "0: 71/71 0/0 71/71 0/0"],
  ["discrete channels that are all silent", [discrete(3, [0, 1, 2])], "0: 71/0 0/100 71/0"],
  ["two mono tracks of a camera", [track(), track()], "0,1: 100/0 0/100"],
  ["mono tracks around an unknown one", [track(), undecodable, track()], "0,2: 100/0 0/100"],
  ["mono tracks, of which some are silent", [track(), track(), silent, silent], "0,1: 100/0 0/100"],
  ["mono tracks that are all silent", [silent, silent], "0,1: 100/0 0/100"],
  ["mono versions", [track({ language: "eng" }), track({ language: "fra" })], "0: 100/100"],
  [
    "mono versions of two tracks each",
    ["eng", "eng", "fra", "fra"].map((language) => track({ language })),
    "0,1: 100/0 0/100",
  ],
  ["mono tracks of one language", [track({ language: "eng" }), track()], "0,1: 100/0 0/100"],
  ["labelled mono tracks", labelled("FL", "FR", "FC", "LFE", "SL", "SR"), "0,1,2,4,5: 100/0 0/100 71/71 71/0 0/71"],
  ["labels the other way round", labelled("FR", "FL"), "0,1: 0/100 100/0"],
  ["labels that do not tell apart", labelled("mono", "mono", "mono"), "0,1,2: 71/0 0/100 71/0"],
  ["the first of several", [stereo(), stereo()], "0: 100/0 0/100"],
  ["the first that can be decoded", [undecodable, stereo(), stereo()], "1: 100/0 0/100"],
  ["a mono track before a stereo one", [track(), stereo()], "0: 100/100"],
  ["the default one, where the first is not", [track(), track({ isDefault: true })], "1: 100/100"],
  [
    "the first, where each is a default one",
    [stereo({ isDefault: true }), stereo({ isDefault: true })],
    "0: 100/0 0/100",
  ],
  ["mono tracks of which only the first is enabled", [track({ isDefault: true }), track()], "0,1: 100/0 0/100"],
  ["of the picture's programme", [track({ isOfOtherProgramme: true }), track()], "1: 100/100"],
  ["no commentary", [stereo({ isAside: true }), stereo()], "1: 100/0 0/100"],
  ["one with sound in it", [stereo({ silentChannels: [0, 1], isDefault: true }), stereo()], "1: 100/0 0/100"],
  [
    "a microphone that was switched off early",
    [track({ durationSeconds: 60 }), track({ durationSeconds: 9 })],
    "0,1: 100/0 0/100",
  ],
  ["none that is much shorter", [stereo({ durationSeconds: 2 }), stereo({ durationSeconds: 60 })], "1: 100/0 0/100"],
])("%s", (_, audio, heard) => {
  expect(heardOf(audio)).toEqual(heard);
});

test("no more than sixteen mono tracks are brought together, those with sound first", () => {
  const many = Array.from({ length: 24 }, () => track());
  expect(heardSound(many)?.tracks).toEqual(Array.from({ length: 16 }, (_, i) => i));
  expect(heardSound([...many.map(() => silent), track(), track()])?.tracks).toEqual([24, 25]);
});

test.each<[string | null, AudioTrack[]]>([
  [null, [stereo()]],
  ["it can be decoded", [undecodable, stereo()]],
  ["it is the first", [stereo(), stereo()]],
  ["it is the default track", [stereo(), stereo({ isDefault: true })]],
  ["it belongs to the picture's programme", [track({ isOfOtherProgramme: true }), track()]],
  ["the others are silent", [stereo({ silentChannels: [0, 1] }), stereo()]],
  ["tracks of one channel are one recording", [track(), track()]],
])("why: %s", (why, audio) => {
  expect(heardSound(audio)?.why).toBe(why);
});
