/**
 * An ffmpeg for tests that behaves as if it had a card: it counts NVENC's sessions, fails with NVENC's own messages when
 * there are too few, and else encodes with libx264 what it was asked to encode with NVENC. Tests with it show how the
 * runner decides; they show nothing about NVENC.
 */
import { chmod, writeFile } from "node:fs/promises";

export type FakeCard = {
  ffmpegPath: string;
  /** NVENC sessions that one process may open. 0: the card has none left. */
  sessions: number;
  /** Whether NVDEC and the card's filters work. */
  gpuGraph?: boolean;
  /** Refuse every encode of a job, after the probes went well. */
  refusesJobs?: boolean;
};

const DROPPED =
  "-preset|-tune|-rc|-cq|-spatial-aq|-aq-strength|-temporal-aq|-rc-lookahead|-b_ref_mode|-no-scenecut|-forced-idr";
const ON_CARD = "-init_hw_device|-filter_hw_device|-hwaccel|-hwaccel_device|-hwaccel_output_format|-extra_hw_frames";

/** Writes the script to `path`, and one line for each of its runs to `path`.log: outputs, and where pictures were scaled. */
export async function writeFakeNvenc(
  path: string,
  { ffmpegPath, sessions, gpuGraph = false, refusesJobs = false }: FakeCard,
) {
  const script = `#!/bin/bash
case "$*" in *h264_nvenc*) ;; *) exec ${ffmpegPath} "$@" ;; esac
args=(); sessions=0; graph=cpu; job=no
case "$*" in *unix:*) job=yes ;; esac
while (($#)); do
  case "$1" in
    ${DROPPED}) shift 2 ;;
    ${ON_CARD}) graph=gpu; shift 2 ;;
    -c:v) sessions=$((sessions + 1)); args+=(-c:v libx264 -preset ultrafast); shift 2 ;;
    -filter_complex) args+=(-filter_complex "$(echo "$2" | sed -E 's/format=nv12\\|p010le\\|cuda,hwupload,//; s/scale_cuda=([0-9]+):([0-9]+)[^,]*/scale=\\1:\\2,format=yuv420p/g')"); shift 2 ;;
    *) args+=("$1"); shift ;;
  esac
done
echo "$sessions $graph job=$job" >> ${path}.log
if [ $graph = gpu ] && [ ${gpuGraph} = false ]; then
  echo "[h264 @ 0x1] Failed setup for format cuda: hwaccel initialisation returned error." >&2
  exit 1
fi
if [ $sessions -gt ${sessions} ] || { [ $job = yes ] && [ ${refusesJobs} = true ]; }; then
  echo "[h264_nvenc @ 0x55d0c0ffee00] OpenEncodeSessionEx failed: out of memory (10): (no details)" >&2
  echo "Error initializing output stream 0:0 -- Error while opening encoder for output stream #0:0" >&2
  exit 1
fi
exec ${ffmpegPath} "\${args[@]}"
`;
  await writeFile(path, script);
  await chmod(path, 0o755);
  await writeFile(`${path}.log`, "");
}
