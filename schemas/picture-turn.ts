/** How a picture is turned by its metadata, as ffprobe states it. Pure. */

/** How a player turns a picture: clockwise, and then mirrored from left to right. */
export type Turn = { rotation: 0 | 90 | 180 | 270; mirrored?: true };

type SideData = readonly { rotation?: number | undefined; displaymatrix?: string | undefined }[] | undefined;

/** ffprobe's `rotation` counts anticlockwise and knows no mirror, the older `rotate` tag counts clockwise. */
export function turnOf(sideData: SideData, rotateTag: string | undefined): Turn {
  const data = sideData?.find((entry) => entry.rotation !== undefined);
  const degrees = data?.rotation !== undefined ? -data.rotation : Number(rotateTag ?? 0);
  return turnOfMatrix(data?.displaymatrix) ?? { rotation: quarterTurn(degrees) };
}

function quarterTurn(degrees: number): Turn["rotation"] {
  const quarter = (((Math.round(degrees / 90) * 90) % 360) + 360) % 360;
  return quarter === 90 || quarter === 180 || quarter === 270 ? quarter : 0;
}

/** Three lines of "00000000:  a b u"; x is shown at `a x + c y`, y at `b x + d y`. null: nothing to be read. */
function turnOfMatrix(text: string | undefined): Turn | null {
  const rows = [...(text ?? "").matchAll(/[0-9a-f]{8}:\s+(-?\d+)\s+(-?\d+)\s+-?\d+/g)];
  const [a = 0, b = 0, c = 0, d = 0] = rows.slice(0, 2).flatMap((row) => [Number(row[1]), Number(row[2])]);
  const area = a * d - b * c;
  if (area === 0) return null;
  const degrees = (Math.atan2(b, area < 0 ? -a : a) * 180) / Math.PI;
  return { rotation: quarterTurn(degrees), ...(area < 0 ? { mirrored: true as const } : {}) };
}
