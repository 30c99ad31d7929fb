/** What a Dolby Vision configuration record says of a stream, as ffprobe states it. Pure. */

type SideData =
  | readonly { dv_profile?: number | undefined; dv_bl_signal_compatibility_id?: number | undefined }[]
  | undefined;

type BaseLayer = "pq" | "hlg" | null;

export const DOLBY_VISION_ONLY =
  "The video is Dolby Vision without a base layer that other players can show (profile 5), so its colours would be wrong; " +
  "export it as HDR10, HLG or Dolby Vision profile 8.";

const configurationIn = (sideData: SideData) => sideData?.find((data) => data.dv_profile !== undefined);

/** Profile 5 is coded in colours of its own, and so are later profiles whose base layer is compatible with nothing. */
export function needsDolbyVision(sideData: SideData): boolean {
  const { dv_profile: profile, dv_bl_signal_compatibility_id: compatible } = configurationIn(sideData) ?? {};
  return profile === 5 || (profile !== undefined && profile >= 10 && compatible === 0);
}

/** What the base layer of Dolby Vision is, by its compatibility, where the stream itself does not say. */
const BASE_LAYER_HDR: Readonly<Record<number, BaseLayer>> = { 1: "pq", 4: "hlg", 6: "pq" };

export function baseLayerHdr(sideData: SideData): BaseLayer {
  return BASE_LAYER_HDR[configurationIn(sideData)?.dv_bl_signal_compatibility_id ?? 0] ?? null;
}
