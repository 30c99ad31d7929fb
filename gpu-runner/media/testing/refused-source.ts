/** The table of what is refused: how each file is made, and the code and the sentence that its owner is told. */
import { DOLBY_VISION_ONLY } from "../../../schemas/dolby-vision.ts";
import type { FailureCode } from "../../../schemas/failure.ts";
import type { SourceGroup } from "./accepted-source.ts";
import type { Need } from "./ffmpeg-ability.ts";
import { AAC, bt709, card, cutTo, renamed, STEREO, type Step, withDolbyVision, X264 } from "./source-file.ts";

export type RefusedSource = {
  name: string;
  steps: readonly Step[];
  needs?: readonly Need[];
  code: FailureCode;
  /** What is told; a number in it is `…`. */
  message: string;
};

const FILM = `${card()} ${STEREO} ${bt709()} ${X264} ${AAC}`;
const LONG_FILM = `${card({ seconds: 4 })} ${bt709()} ${X264} -g 25`;
const bytes = (...parts: (string | number[])[]) =>
  Buffer.concat(parts.map((part) => (typeof part === "string" ? Buffer.from(part, "latin1") : Buffer.from(part))));
const written = (name: string, content: Buffer): Step => ({ from: "", to: name, edit: () => content });

/** Its payload is all zeros, as in a sparse copy. */
const hollow = (whole: Buffer) => {
  const from = whole.indexOf("mdat") + 4;
  return Buffer.from(whole).fill(0, from, from + whole.readUInt32BE(from - 8) - 8);
};

const AUDIO_ONLY = "The file has sound but no picture; there is no video to make renditions of.";
const STILL = "The file is a still image; there is no video to make renditions of.";
const CUT = "The file is cut off: it says that it has … bytes, but only … are there.";
const NO_INDEX = "The file is cut off: its index (moov) is missing. The recording or the upload did not finish.";
const TEXT = "The file is text, not media, whatever its name says.";
const ARCHIVE = "The file is an archive (such as ZIP); upload the video that is in it.";

const DOLBY_VISION = { code: "UNSUPPORTED_CODEC", message: DOLBY_VISION_ONLY } as const;

const noVideo: readonly RefusedSource[] = [
  { name: "Sound alone", steps: [`${STEREO} {a.wav}`], code: "AUDIO_ONLY", message: AUDIO_ONLY },
  {
    name: "Sound with a cover picture",
    steps: [
      `${card()} -frames:v 1 {cover.png}`,
      `${STEREO} -i {cover.png} -map 0 -map 1 ${AAC} -c:v copy -disposition:v attached_pic {a.m4a}`,
    ],
    code: "AUDIO_ONLY",
    message: AUDIO_ONLY,
  },
  {
    name: "Subtitles alone",
    steps: [
      written("words.srt", bytes("1\n00:00:00,000 --> 00:00:01,000\nWords\n")),
      "-i {words.srt} -c:s srt {a.mkv}",
    ],
    code: "NO_VIDEO",
    message: "The file has no video track.",
  },
  { name: "A JPEG", steps: [`${card()} -frames:v 1 {a.jpg}`], code: "STILL_IMAGE", message: STILL },
  {
    name: "A PNG by the name of .mov",
    steps: [`${card()} -frames:v 1 -f image2 -c:v png {a.mov}`],
    code: "STILL_IMAGE",
    message: STILL,
  },
  {
    name: "A HEIC",
    steps: [
      written(
        "a.heic",
        bytes([0, 0, 0, 24], "ftypheic", [0, 0, 0, 0], "mif1heic", [0, 0, 0, 16], "meta", [0, 0, 0, 0, 0, 0, 0, 0]),
      ),
    ],
    code: "STILL_IMAGE",
    message: STILL,
  },
];

const damaged: readonly RefusedSource[] = [
  {
    name: "A movie cut before its index",
    steps: [`${FILM} {whole.mp4}`, { from: "whole.mp4", to: "a.mp4", edit: cutTo(0.5) }],
    code: "TRUNCATED",
    message: NO_INDEX,
  },
  {
    name: "A movie cut after its index",
    steps: [`${LONG_FILM} -movflags +faststart {whole.mp4}`, { from: "whole.mp4", to: "a.mp4", edit: cutTo(0.5) }],
    code: "TRUNCATED",
    message: CUT,
  },
  {
    name: "A Matroska file cut short",
    steps: [`${LONG_FILM} {whole.mkv}`, { from: "whole.mkv", to: "a.mkv", edit: cutTo(0.5) }],
    code: "TRUNCATED",
    message: CUT,
  },
  {
    name: "An MXF cut short",
    steps: [
      `${card({ seconds: 4 })} ${bt709("yuv422p")} -c:v mpeg2video -b:v 20M {whole.mxf}`,
      { from: "whole.mxf", to: "a.mxf", edit: cutTo(0.5) },
    ],
    code: "TRUNCATED",
    message: CUT,
  },
  {
    name: "An AVI cut short",
    steps: [
      `${card({ seconds: 4 })} -c:v mjpeg -pix_fmt yuvj422p {whole.avi}`,
      { from: "whole.avi", to: "a.avi", edit: cutTo(0.5) },
    ],
    code: "TRUNCATED",
    message: CUT,
  },
  {
    name: "An empty file",
    steps: [written("a.mp4", bytes())],
    code: "INVALID_MEDIA",
    message: "The file is empty: it has no bytes at all.",
  },
  {
    name: "Zeros, as an upload that never wrote leaves them",
    steps: [written("a.mov", Buffer.alloc(300_000))],
    code: "INVALID_MEDIA",
    message: "The file begins with nothing but zeros: the upload or the copy never wrote it.",
  },
  {
    name: "A movie of which the index alone was written",
    steps: [`${FILM} {whole.mp4}`, { from: "whole.mp4", to: "a.mov", edit: hollow }],
    code: "INVALID_MEDIA",
    message: "Next to nothing of the file can be decoded: it is damaged, or its media was never written.",
  },
];

const notMedia: readonly RefusedSource[] = [
  {
    name: "Text by the name of .mov",
    steps: [written("a.mov", bytes("These are meeting notes, not a film.\n".repeat(500)))],
    code: "INVALID_MEDIA",
    message: TEXT,
  },
  {
    name: "A playlist that names another file",
    steps: [
      `${FILM} {named.ts}`,
      written("a.mov", bytes("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nnamed.ts\n#EXT-X-ENDLIST\n")),
    ],
    code: "INVALID_MEDIA",
    message: TEXT,
  },
  {
    name: "A ZIP",
    steps: [
      `${FILM} {film.mp4}`,
      { from: "film.mp4", to: "a.mov", edit: (film) => Buffer.concat([bytes("PK", [3, 4, 20, 0, 0, 0, 0, 0]), film]) },
    ],
    code: "INVALID_MEDIA",
    message: ARCHIVE,
  },
  {
    name: "A PDF",
    steps: [written("a.mp4", bytes("%PDF-1.7\n%", [0xe2, 0xe3, 0xcf, 0xd3], "\n1 0 obj\n".repeat(100)))],
    code: "INVALID_MEDIA",
    message: "The file is a document, not media, whatever its name says.",
  },
  {
    name: "Noise",
    steps: [
      written("a.mov", Buffer.from(Array.from({ length: 60_000 }, (_, i) => (i * i * 31 + (i >> 3) * 7) & 0xff))),
    ],
    code: "INVALID_MEDIA",
    message: "The file is not media that can be read, whatever its name says.",
  },
];

const locked: readonly RefusedSource[] = [
  {
    name: "Encrypted (Common Encryption)",
    steps: [
      `${FILM} -encryption_scheme cenc-aes-ctr -encryption_key 76a6c65c5ea762046bd749a2e632ccbb ` +
        "-encryption_kid a7e61c373e219033c21091fa607bf3b8 {a.mp4}",
    ],
    code: "ENCRYPTED_MEDIA",
    message: "The media is encrypted; upload a file without protection.",
  },
  {
    name: "ProRes RAW",
    steps: [
      `${card()} ${bt709("yuv422p10le")} -c:v prores_ks -profile:v 3 {hq.mov}`,
      { from: "hq.mov", to: "a.mov", edit: renamed("apch", "aprn") },
    ],
    code: "UNSUPPORTED_CODEC",
    message: "The video is Apple ProRes RAW, which cannot be decoded here; export it as ProRes.",
  },
  {
    name: "RED raw",
    steps: [written("a.r3d", bytes([0, 0, 1, 0], "RED2", [0, 0, 0, 0], Buffer.alloc(20_000, 7).toString("latin1")))],
    code: "UNSUPPORTED_CODEC",
    message: "The video is RED raw (R3D), which cannot be decoded here; export it as ProRes.",
  },
  {
    name: "Dolby Vision profile 5",
    steps: [
      `${card()} ${bt709("yuv420p10le")} -c:v libx265 -x265-params log-level=error {base.mp4}`,
      { from: "base.mp4", to: "a.mp4", edit: withDolbyVision(5, 0, "hvcC", "hev1") },
    ],
    needs: ["encoder:libx265"],
    ...DOLBY_VISION,
  },
  {
    name: "Dolby Vision profile 10.0, in AV1",
    steps: [
      `${card({ seconds: 1 })} ${bt709("yuv420p10le")} -c:v libsvtav1 -preset 12 -crf 20 {base.mp4}`,
      { from: "base.mp4", to: "a.mp4", edit: withDolbyVision(10, 0, "av1C", "av01") },
    ],
    needs: ["encoder:libsvtav1"],
    ...DOLBY_VISION,
  },
  {
    name: "A codec that nobody knows",
    steps: [
      `${card()} ${bt709()} ${X264} {known.mov}`,
      { from: "known.mov", to: "a.mov", edit: renamed("avc1", "zzzz") },
    ],
    code: "UNSUPPORTED_CODEC",
    message: "The video is in a format that this encoder cannot decode.",
  },
];

export const refusedSources: readonly SourceGroup<RefusedSource>[] = [
  { title: "No video", sources: noVideo },
  { title: "Damaged", sources: damaged },
  { title: "Not media", sources: notMedia },
  { title: "Locked, or in a format that is not decoded here", sources: locked },
];
