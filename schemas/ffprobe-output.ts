/** What ffprobe prints with `-of json -show_format -show_streams -show_programs -show_packets`, as far as it is read. */
import { z } from "zod";

const numeric = z
  .union([z.number(), z.string()])
  .transform((value) => Number(value))
  .optional()
  .catch(undefined);

const FfprobeStream = z.object({
  index: z.int().nonnegative().optional(),
  codec_type: z.string().optional(),
  codec_name: z.string().optional(),
  codec_tag_string: z.string().optional(),
  sample_fmt: z.string().optional(),
  nb_frames: numeric,
  width: z.number().optional(),
  height: z.number().optional(),
  pix_fmt: z.string().optional(),
  bits_per_raw_sample: numeric,
  sample_aspect_ratio: z.string().optional(),
  r_frame_rate: z.string().optional(),
  avg_frame_rate: z.string().optional(),
  time_base: z.string().optional(),
  has_b_frames: z.int().nonnegative().optional(),
  field_order: z.string().optional(),
  color_space: z.string().optional(),
  color_primaries: z.string().optional(),
  color_transfer: z.string().optional(),
  color_range: z.string().optional(),
  channels: z.number().optional(),
  channel_layout: z.string().optional(),
  sample_rate: numeric,
  start_time: numeric,
  duration: numeric,
  disposition: z.record(z.string(), z.number()).optional(),
  tags: z.record(z.string(), z.string()).optional(),
  side_data_list: z
    .array(
      z.object({
        rotation: numeric,
        displaymatrix: z.string().optional(),
        dv_profile: numeric,
        dv_bl_signal_compatibility_id: numeric,
      }),
    )
    .optional(),
});
export type FfprobeStream = z.infer<typeof FfprobeStream>;

export const FfprobeOutput = z.object({
  format: z.object({
    format_name: z.string(),
    start_time: numeric,
    duration: numeric,
    tags: z.record(z.string(), z.string()).optional(),
  }),
  streams: z.array(FfprobeStream),
  programs: z.array(z.object({ program_id: z.int(), streams: z.array(FfprobeStream) })).optional(),
  /** The first few, where they were asked for. */
  packets: z
    .array(z.object({ side_data_list: z.array(z.object({ side_data_type: z.string().optional() })).optional() }))
    .optional(),
});
export type FfprobeOutput = z.infer<typeof FfprobeOutput>;
