/** What of a source does not decode: where its renditions show the last good picture, or are silent. Pure. */
import { z } from "zod";

export const mostDamageSpans = 100;

/** In the renditions' time. */
export const SourceDamage = z.strictObject({
  fromSeconds: z.number().nonnegative(),
  toSeconds: z.number().positive(),
  what: z.enum(["picture", "sound"]),
});
export type SourceDamage = z.infer<typeof SourceDamage>;

/** A sentence for a producer. */
export function describeDamage(damage: readonly SourceDamage[]): string {
  const parts = (["picture", "sound"] as const).flatMap((what) => {
    const spans = damage.filter((span) => span.what === what);
    const [first] = spans;
    if (first === undefined) return [];
    const seconds = spans.reduce((sum, { fromSeconds, toSeconds }) => sum + toSeconds - fromSeconds, 0);
    const where = spans.length === 1 ? "at" : `in ${spans.length} places, first at`;
    return `${seconds.toFixed(1)} s of ${what} ${where} ${clockTime(first.fromSeconds)}`;
  });
  return `The original is damaged: ${parts.join(", and ")} cannot be decoded.`;
}

function clockTime(seconds: number): string {
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  const rest = Math.floor(seconds) % 60;
  const two = (value: number) => String(value).padStart(2, "0");
  return hours > 0 ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}
