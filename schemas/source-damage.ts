/** What of a source does not decode. Told by the runner once it has read all of it; pure. */
import { z } from "zod";

const Seconds = z.number().nonnegative();

export const DamagedStretch = z.object({
  /** Of the proxies' time. */
  fromSeconds: Seconds,
  toSeconds: Seconds,
  /** `picture`: the last good picture is shown instead. `sound`: it is silent. */
  what: z.enum(["picture", "sound"]),
  /** How much of the stretch: holes that lie close together are told as one. */
  missingSeconds: Seconds,
});
export type DamagedStretch = z.infer<typeof DamagedStretch>;

/** Of each kind; where there would be more, those that lie closest are told as one. */
export const mostStretches = 100;

export const SourceDamage = z.array(DamagedStretch).max(2 * mostStretches);

/** How many places a sentence names. */
const namedPlaces = 3;
const written = (seconds: number) => String(Math.round(seconds * 100) / 100);

/** @returns how much is missing and where, for the asset's owner */
export function describeDamage(damage: readonly DamagedStretch[], durationSeconds: number | null): string {
  const picture = describeKind(damage, "picture", durationSeconds);
  const sound = describeKind(damage, "sound", durationSeconds);
  return [
    ...(picture === null ? [] : [`${picture}: the proxies show the last good picture there.`]),
    ...(sound === null ? [] : [`${sound}: the proxies are silent there.`]),
  ].join(" ");
}

function describeKind(
  damage: readonly DamagedStretch[],
  what: DamagedStretch["what"],
  durationSeconds: number | null,
): string | null {
  const mine = damage.filter((stretch) => stretch.what === what);
  if (mine.length === 0) return null;
  const missing = mine.reduce((sum, { missingSeconds }) => sum + missingSeconds, 0);
  const share = durationSeconds === null ? "" : ` of ${written(durationSeconds)}`;
  const places = mine
    .slice(0, namedPlaces)
    .map(({ fromSeconds, toSeconds }) => `${written(fromSeconds)}–${written(toSeconds)} s`);
  const more = mine.length - places.length;
  const where = [...places, ...(more > 0 ? [`${more} more`] : [])].join(", ");
  return `${written(missing)}${share} seconds of the ${what} do not decode (${where})`;
}
