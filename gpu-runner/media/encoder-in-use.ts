/**
 * The encoder that jobs get: the one found at the start, until a job found that it no longer opens. Then it is probed
 * again, once for all jobs that ask; what was lost is looked for again at the start of later jobs.
 */
import type { EncoderChoice } from "./encoder-probe.ts";

export type EncoderInUse = {
  current(): EncoderChoice;
  /** Never rejects: what cannot be had back now is left as it is. */
  forJob(): Promise<EncoderChoice>;
  /** For a job that was refused. Rejects where no encoder may be used. */
  probeAgain(): Promise<EncoderChoice>;
};

export type EncoderInUseOptions = {
  first: EncoderChoice;
  probe: () => Promise<EncoderChoice>;
  /** How long a lost encoder is left alone. */
  retryAfterMs: number;
  /** Monotonic. */
  nowMs: () => number;
  onChange: (choice: EncoderChoice) => void;
};

export function encoderInUse({ first, probe, retryAfterMs, nowMs, onChange }: EncoderInUseOptions): EncoderInUse {
  let current = first;
  let probedAtMs = nowMs();
  let probing: Promise<EncoderChoice> | null = null;

  function probeAgain(): Promise<EncoderChoice> {
    probing ??= probe()
      .then((choice) => {
        const changed = choice.kind !== current.kind || choice.outputsAtOnce !== current.outputsAtOnce;
        current = choice;
        if (changed) onChange(choice);
        return choice;
      })
      .finally(() => {
        probing = null;
        probedAtMs = nowMs();
      });
    return probing;
  }

  const isLess = () => current.kind !== first.kind || current.outputsAtOnce !== first.outputsAtOnce;
  return {
    current: () => current,
    probeAgain,
    forJob: async () => {
      if (isLess() && nowMs() - probedAtMs >= retryAfterMs) await probeAgain().catch(() => undefined);
      return current;
    },
  };
}
