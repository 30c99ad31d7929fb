/** Tells a running stack what should go wrong, and asks what has. */
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { LinkStatus } from "./fault-proxy.ts";
import type { FaultRule } from "./fault-rule.ts";
import { type R2Rule, R2Status } from "./r2-fault.ts";
import type { LinkName } from "./stack-fault.ts";
import type { StackFile } from "./stack-file.ts";

const timeoutMs = 10_000;
/** A worker that was killed a moment ago comes back, and its door with it. */
const returnTimeoutMs = 60_000;
const retryMs = 250;

export class FaultControl {
  readonly #doors: NonNullable<StackFile["faults"]>;

  constructor(file: StackFile) {
    if (file.faults === undefined) throw new Error("This stack was started without --faults.");
    this.#doors = file.faults;
  }

  setLink(name: LinkName, rule: FaultRule): Promise<z.infer<typeof LinkStatus>> {
    return this.#ask(LinkStatus, `${this.#doors.url}/links/${name}`, rule);
  }

  link(name: LinkName): Promise<z.infer<typeof LinkStatus>> {
    return this.#ask(LinkStatus, `${this.#doors.url}/links/${name}`);
  }

  links(): Promise<Record<string, z.infer<typeof LinkStatus>>> {
    return this.#ask(z.record(z.string(), LinkStatus), `${this.#doors.url}/links`);
  }

  setR2(rules: R2Rule[]): Promise<R2Status> {
    return this.#ask(R2Status, this.#doors.r2Url, rules);
  }

  r2(): Promise<R2Status> {
    return this.#ask(R2Status, this.#doors.r2Url);
  }

  async #ask<Schema extends z.ZodType>(schema: Schema, url: string, body?: unknown): Promise<z.infer<Schema>> {
    const deadlineMs = performance.now() + returnTimeoutMs;
    for (;;) {
      try {
        const response = await fetch(url, {
          method: body === undefined ? "GET" : "PUT",
          headers: { authorization: `Bearer ${this.#doors.token}` },
          ...(body === undefined ? {} : { body: JSON.stringify(body) }),
          signal: AbortSignal.timeout(timeoutMs),
        });
        const text = await response.text();
        if (response.ok) return schema.parse(JSON.parse(text));
        throw new Error(`The fault door answered ${response.status}: ${text}`);
      } catch (error) {
        // Told apart from an answer that is wrong: fetch itself throws a TypeError, or a timeout.
        const unanswered =
          error instanceof TypeError || (error instanceof DOMException && error.name === "TimeoutError");
        if (!unanswered || performance.now() > deadlineMs) throw error;
        await sleep(retryMs);
      }
    }
  }
}
