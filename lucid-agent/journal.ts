/**
 * Transfers on disk: one JSON file each in `{stateDirectory}/transfers`, written whole beside itself and renamed. They
 * hold presigned URLs while a transfer lasts: directory 0700, files 0600.
 */
import { createHash } from "node:crypto";
import { chmod, mkdir, open, readdir, readFile, rename, rm } from "node:fs/promises";
import path from "node:path";
import { z } from "zod";
import { errnoOf } from "./failure.ts";
import { TransferRecord, TransferWork } from "./record.ts";

const Entry = z.object({
  version: z.literal(1),
  record: TransferRecord,
  /** null once the transfer has ended. */
  work: TransferWork.nullable(),
});

export class Journal {
  readonly #directory: string;

  private constructor(directory: string) {
    this.#directory = directory;
  }

  static async open(stateDirectory: string): Promise<Journal> {
    const directory = path.join(stateDirectory, "transfers");
    await mkdir(directory, { recursive: true, mode: 0o700 });
    await chmod(directory, 0o700);
    return new Journal(directory);
  }

  /** Ids may hold characters that file systems treat differently; digests do not. */
  #file(id: string): string {
    return path.join(this.#directory, `${createHash("sha256").update(id).digest("hex")}.json`);
  }

  async save(record: TransferRecord, work: TransferWork | null): Promise<void> {
    const file = this.#file(record.id);
    const beside = `${file}.new`;
    const handle = await open(beside, "w", 0o600);
    try {
      await handle.writeFile(JSON.stringify({ version: 1, record, work } satisfies z.infer<typeof Entry>));
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(beside, file);
    await this.#sync();
  }

  async work(id: string): Promise<TransferWork | null> {
    return Entry.parse(JSON.parse(await readFile(this.#file(id), "utf8"))).work;
  }

  async forget(id: string): Promise<void> {
    await rm(this.#file(id), { force: true });
    await this.#sync();
  }

  /** Every record; half-written files are removed, unreadable ones set aside as `*.unreadable` and reported. */
  async load(onUnreadable: (file: string, error: unknown) => void): Promise<TransferRecord[]> {
    const records: TransferRecord[] = [];
    for (const name of await readdir(this.#directory)) {
      const file = path.join(this.#directory, name);
      if (name.endsWith(".new")) await rm(file, { force: true });
      if (!name.endsWith(".json")) continue;
      try {
        records.push(Entry.parse(JSON.parse(await readFile(file, "utf8"))).record);
      } catch (error) {
        if (errnoOf(error) !== null) throw error;
        await rename(file, `${file}.unreadable`);
        onUnreadable(name, error);
      }
    }
    return records;
  }

  async #sync(): Promise<void> {
    const directory = await open(this.#directory, "r");
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
  }
}
