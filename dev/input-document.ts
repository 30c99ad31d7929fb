/** docs/inputs.md, from the table of sources that gpu-runner/media/source-table.test.ts makes and puts through a job. */
import type { AcceptedSource, SourceGroup } from "../gpu-runner/media/testing/accepted-source.ts";
import { damagedSources } from "../gpu-runner/media/testing/damaged-source.ts";
import { oddPictureSources } from "../gpu-runner/media/testing/odd-picture-source.ts";
import { oddSoundSources } from "../gpu-runner/media/testing/odd-sound-source.ts";
import { oddTimeSources } from "../gpu-runner/media/testing/odd-time-source.ts";
import { pictureSources } from "../gpu-runner/media/testing/picture-source.ts";
import { type RefusedSource, refusedSources } from "../gpu-runner/media/testing/refused-source.ts";
import { soundSources } from "../gpu-runner/media/testing/sound-source.ts";
import { failureFacts } from "../schemas/failure.ts";
import { markdownTable } from "./markdown-table.ts";

export function inputDocument(): string {
  return `<!-- Written by \`npm run docs\` from gpu-runner/media/testing/*-source.ts: change it there. -->
# Inputs

What becomes of each kind of source. Every line is a test (\`gpu-runner/media/source-table.test.ts\`): ffmpeg makes the file,
a whole job encodes it, and what comes out is measured. The clips last a few seconds and are small, so higher rungs are
seldom reached; a real source gets every rung up to its own size.

Of every rendition in these tables it is checked that it is H.264, progressive, 4:2:0, with square pixels, tagged and
truly in BT.709 (the mean of its picture is that of the one card which all sources show), a plain MP4 with its index
first; that its keyframes are at most two seconds apart and at the very times of the other rungs; that it has exactly the
frames given here and its sound begins in its time. Sound is AAC, stereo, 48 kHz. What an ffmpeg cannot make is skipped by
the test, which says why.

${[...pictureSources, ...oddPictureSources, ...oddTimeSources, ...soundSources, ...oddSoundSources, ...damagedSources].map(acceptedSection).join("\n\n")}

# Refused

At once and for good: another try would end the same. The sentence is what the asset's \`problem\` says; the codes are
explained in [failures.md](failures.md).

${refusedSources.map(refusedSection).join("\n\n")}
`;
}

function acceptedSection({ title, sources }: SourceGroup<AcceptedSource>): string {
  const rows = sources.map(({ name, renditions, fps, frames, sound, timecode, colour, note }) => [
    name,
    Object.entries(renditions)
      .map(([quality, size]) => `${quality} ${size.replace("x", "×")}`)
      .join(", "),
    rate(fps),
    String(frames),
    sound?.is ?? "none",
    timecode ?? "none",
    [colour === "tone-mapped" ? "Tone-mapped to BT.709." : "", note ?? ""].filter((text) => text !== "").join(" "),
  ]);
  return `## ${title}\n\n${markdownTable(["Source", "Renditions", "fps", "Frames", "Sound", "Timecode", ""], rows)}`;
}

function rate(fps: string): string {
  const [num = 0, den = 1] = fps.split("/").map(Number);
  return String(Number((num / den).toFixed(3)));
}

function refusedSection({ title, sources }: SourceGroup<RefusedSource>): string {
  const rows = sources.map(({ name, code, message }) => [name, `\`${code}\``, message, adviceOn(code)]);
  return `## ${title}\n\n${markdownTable(["File", "Code", "What its owner is told", "What to do"], rows)}`;
}

function adviceOn(code: RefusedSource["code"]): string {
  return failureFacts[code].advice;
}
