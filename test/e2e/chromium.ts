/** A headless Chromium on a profile of its own, killed with all of its processes. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/** @returns null where there is none; $CHROMIUM_PATH comes first */
export function findChromium(): string | null {
  const told = process.env.CHROMIUM_PATH;
  const candidates = told === undefined ? names : [told];
  return candidates.find((path) => spawnSync(path, ["--version"], { timeout: 60_000 }).status === 0) ?? null;
}

export class Chromium {
  readonly #child: ChildProcess;
  readonly #profile: string;
  #said = "";

  private constructor(child: ChildProcess, profile: string) {
    this.#child = child;
    this.#profile = profile;
    child.stderr?.on("data", (chunk: Buffer) => {
      this.#said = (this.#said + chunk.toString()).slice(-4_000);
    });
  }

  static async open(path: string, url: string): Promise<Chromium> {
    const profile = await mkdtemp(join(tmpdir(), "mmf-chromium-"));
    const flags = [
      ..."--headless=new --disable-gpu --mute-audio --no-first-run --disable-dev-shm-usage".split(" "),
      ..."--disable-background-networking --disable-component-update --disable-sync".split(" "),
      "--autoplay-policy=no-user-gesture-required",
      // Its sandbox refuses to run as root, as in containers.
      ...(process.getuid?.() === 0 ? ["--no-sandbox"] : []),
      `--user-data-dir=${profile}`,
    ];
    // The leader of a group, so that its helpers can be killed with it.
    const child = spawn(path, [...flags, url], { detached: true, stdio: ["ignore", "ignore", "pipe"] });
    return new Chromium(child, profile);
  }

  /** The end of what it wrote. */
  get said(): string {
    return this.#said;
  }

  async close(): Promise<void> {
    const { pid } = this.#child;
    const ended = this.#child.exitCode === null && this.#child.signalCode === null ? once(this.#child, "exit") : null;
    try {
      if (pid !== undefined) process.kill(-pid, "SIGKILL");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
    await ended;
    await rm(this.#profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  }
}
