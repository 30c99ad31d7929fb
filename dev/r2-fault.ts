/**
 * An R2 binding that fails when told to. It wraps any bucket: what it does not know passes through. The rules are plain
 * memory of the worker that holds them, and gone with it.
 */
import { z } from "zod";

/** Below the API's address, the worker that runs with faults takes orders about R2. */
export const r2DoorPath = "/__faults/r2";

export const R2Operation = z.enum([
  "head",
  "get",
  "put",
  "delete",
  "createMultipartUpload",
  "uploadPart",
  "complete",
  "abort",
]);
export type R2Operation = z.infer<typeof R2Operation>;

const operation = z.union([R2Operation, z.literal("any")]);

export const R2Rule = z.discriminatedUnion("kind", [
  /** Nothing is done, and an error is told. */
  z.strictObject({ kind: z.literal("error"), operation }),
  /** It is done, and an error is told. */
  z.strictObject({ kind: z.literal("lost-answer"), operation }),
  /** It begins so much later, or when the rule is lifted. */
  z.strictObject({ kind: z.literal("slow"), operation, delayMs: z.int().positive().max(600_000) }),
  /** A read's body ends early. */
  z.strictObject({ kind: z.literal("short"), operation: z.literal("get") }),
]);
export type R2Rule = z.infer<typeof R2Rule>;

export const R2Status = z.object({ rules: z.array(R2Rule), struck: z.int(), firstStruckAtMs: z.number().nullable() });
export type R2Status = z.infer<typeof R2Status>;

export type R2Weather = {
  status(): R2Status;
  set(rules: R2Rule[]): void;
  /** The rule that strikes this operation, counted as a strike. */
  strike(name: R2Operation): R2Rule | null;
};

export function calmR2(): R2Weather {
  let current: R2Status = { rules: [], struck: 0, firstStruckAtMs: null };
  return {
    status: () => current,
    set(rules) {
      current = { rules, struck: 0, firstStruckAtMs: null };
    },
    strike(name) {
      const rule = current.rules.find((candidate) => candidate.operation === name || candidate.operation === "any");
      if (rule === undefined) return null;
      current = { ...current, struck: current.struck + 1, firstStruckAtMs: current.firstStruckAtMs ?? Date.now() };
      return rule;
    },
  };
}

const pollMs = 100;

async function perform<T>(weather: R2Weather, name: R2Operation, work: () => Promise<T>): Promise<T> {
  const rule = weather.strike(name);
  switch (rule?.kind) {
    case undefined:
      return await work();
    case "error":
      throw internalError(name);
    case "lost-answer":
      // Nobody would know of an upload whose creation was not answered; R2 drops it after a week, the local one never.
      if (name !== "createMultipartUpload") await work();
      throw internalError(name);
    case "slow": {
      const { rules } = weather.status();
      // Looked at by its own clock: a promise that another request resolves does not wake this one.
      for (let waitedMs = 0; waitedMs < rule.delayMs && weather.status().rules === rules; waitedMs += pollMs) {
        await new Promise((resolve) => setTimeout(resolve, pollMs));
      }
      return await work();
    }
    case "short":
      return shortened(await work());
  }
}

/** In R2's own words. */
function internalError(name: R2Operation): Error {
  return new Error(`${name}: We encountered an internal error. Please try again. (10001)`);
}

type Method = (...args: unknown[]) => unknown;

/** A view of an object of the platform whose methods keep their `this`. */
function view<T extends object>(target: T, replace: (name: string, method: Method) => Method | null): T {
  return new Proxy(target, {
    get(_target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== "function") return value;
      const method: Method = (...args) => Reflect.apply(value, target, args);
      return (typeof name === "string" ? replace(name, method) : null) ?? method;
    },
  });
}

export function faultyBucket<Bucket extends object>(bucket: Bucket, weather: R2Weather): Bucket {
  return view(bucket, (name, method) => {
    if (name === "resumeMultipartUpload") return (...args) => faultyUpload(method(...args), weather);
    const known = R2Operation.safeParse(name);
    if (!known.success) return null;
    return async (...args) => {
      const result = await perform(weather, known.data, async () => await method(...args));
      return name === "createMultipartUpload" ? faultyUpload(result, weather) : result;
    };
  });
}

function faultyUpload(upload: unknown, weather: R2Weather): unknown {
  if (typeof upload !== "object" || upload === null) return upload;
  return view(upload, (name, method) => {
    const known = R2Operation.safeParse(name);
    return known.success ? (...args) => perform(weather, known.data, async () => await method(...args)) : null;
  });
}

/** The same object, of whose body only half a piece comes. */
function shortened<T>(object: T): T {
  if (typeof object !== "object" || object === null || !("body" in object)) return object;
  const { body } = object;
  if (!(body instanceof ReadableStream)) return object;
  // R2 announces a body's length, so that the platform takes one that ends before it for a broken one.
  const lost = () => new Error("Network connection lost.");
  let begun = false;
  const half = body.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        if (begun) throw lost();
        begun = true;
        controller.enqueue(chunk.subarray(0, Math.floor(chunk.length / 2)));
      },
      flush() {
        throw lost();
      },
    }),
  );
  return new Proxy(object, {
    get(target, name) {
      if (name === "body") return half;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? (...args: unknown[]) => Reflect.apply(value, target, args) : value;
    },
  });
}
