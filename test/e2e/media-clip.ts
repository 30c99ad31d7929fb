/** Small clips for the tests, made by ffmpeg when they are needed. */
import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { boxesOf, childBoxes } from "./media-file.ts";

const exec = promisify(execFile);

export interface ClipOptions {
  width: number;
  height: number;
  seconds: number;
  fps?: number;
  sound?: boolean;
  /** Strength of the grain, 0–100: grain makes large files that take long to encode. */
  grain?: number;
}

export class ClipFolder {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  static async make(): Promise<ClipFolder> {
    return new ClipFolder(await mkdtemp(join(tmpdir(), "mmf-clip-")));
  }

  async remove(): Promise<void> {
    await rm(this.path, { recursive: true, force: true });
  }

  /** A test card in H.264, with a tone unless silence is asked for. @returns its path */
  async clip({ width, height, seconds, fps = 25, sound = true, grain = 0 }: ClipOptions): Promise<string> {
    const file = join(this.path, `${randomUUID()}.mov`);
    const card = `testsrc2=size=${width}x${height}:rate=${fps}:duration=${seconds}`;
    const picture = grain === 0 ? card : `${card},noise=alls=${grain}:allf=t`;
    await exec(
      "ffmpeg",
      [
        ...["-v", "error", "-nostdin", "-f", "lavfi", "-i", picture],
        ...(sound ? ["-f", "lavfi", "-i", `sine=frequency=440:sample_rate=48000:duration=${seconds}`] : []),
        ...["-c:v", "libx264", "-preset", "ultrafast", "-crf", "18", "-pix_fmt", "yuv420p"],
        ...(sound ? ["-c:a", "aac", "-ac", "2"] : []),
        file,
      ],
      { timeout: 120_000 },
    );
    return file;
  }

  /** The same packets with the index before them. */
  async faststart(clip: string): Promise<string> {
    return await this.#rewrap(clip, "mp4", "-movflags", "+faststart");
  }

  async matroska(clip: string): Promise<string> {
    return await this.#rewrap(clip, "mkv");
  }

  async #rewrap(clip: string, extension: string, ...options: string[]): Promise<string> {
    const file = join(this.path, `${randomUUID()}.${extension}`);
    const args = ["-v", "error", "-nostdin", "-i", clip, "-c", "copy", ...options, file];
    await exec("ffmpeg", args, { timeout: 120_000 });
    return file;
  }

  /** The same clip held upright: its frames stay as they are, its track header says to turn them by 90°. */
  async turned(clip: string): Promise<string> {
    const bytes = await readFile(clip);
    const moov = boxesOf(bytes).find(({ type }) => type === "moov");
    const tracks = moov === undefined ? [] : childBoxes(bytes, moov).filter(({ type }) => type === "trak");
    const header = tracks[0] && childBoxes(bytes, tracks[0]).find(({ type }) => type === "tkhd");
    if (header === undefined) throw new Error(`${clip} has no track header`);
    // Version 0: 8 bytes of box, 4 of version and flags, 20 of times and id, 16 of layers and reserved, the matrix.
    const matrix = header.offset + 48;
    const height = bytes.readUInt32BE(matrix + 40);
    for (const [index, value] of [0, 0x10000, 0, 0xffff0000, 0, 0, height, 0, 0x40000000].entries()) {
      bytes.writeUInt32BE(value, matrix + 4 * index);
    }
    return await this.write("turned.mov", bytes);
  }

  async write(name: string, content: Buffer | string): Promise<string> {
    const file = join(this.path, name);
    await writeFile(file, content);
    return file;
  }
}
