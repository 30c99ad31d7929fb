#!/bin/sh
# Runs a command with Debian trixie's ffmpeg 7.1 first on PATH, without installing it:
#   sudo test/ffmpeg-7.sh /var/tmp/trixie npx vitest run --project unit gpu-runner/media
# The first call unpacks a minimal trixie into that folder (root, debootstrap, 0.8 GB). Later ones need no root.
set -eu
[ $# -ge 2 ] || { sed -n '2,4s/^# \{0,1\}//p' "$0" >&2; exit 2; }
root=$1
shift
[ -d "$root" ] || mkdir -p "$root"
root=$(cd "$root" && pwd)
if [ ! -x "$root/usr/bin/ffmpeg" ]; then
  debootstrap --variant=minbase --include=ffmpeg trixie "$root" "${DEBIAN_MIRROR:-http://deb.debian.org/debian}" >&2
fi
bin=$root/mmf-bin
if [ ! -x "$bin/ffprobe" ]; then
  mkdir -p "$bin"
  # Trixie's own loader, not chroot: the program sees this machine's files and sockets.
  loader=$(find "$root/usr/lib" "$root/usr/lib64" -name 'ld-linux-*.so*' 2>/dev/null | head -n 1)
  lib=$(dirname "$(find "$root/usr/lib" -name 'libavcodec.so.*' | head -n 1)")
  for program in ffmpeg ffprobe; do
    printf '#!/bin/sh\nexec "%s" --library-path "%s" "%s" "$@"\n' \
      "$loader" "$lib:$lib/pulseaudio:$lib/blas:$lib/lapack" "$root/usr/bin/$program" >"$bin/$program"
    chmod 755 "$bin/$program"
  done
fi
PATH="$bin:$PATH" exec "$@"
