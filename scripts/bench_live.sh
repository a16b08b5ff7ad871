#!/bin/sh
# The live view on this machine: a source of 30 frames/s at 1280x720 in real time, with one face and with five; how soon
# the first picture is shown, how old pictures are, what it costs beside MediaPipe's Face Mesh on the same frames.
# It needs Python 3 with pip, ffmpeg, and Xvfb for a screen that is none. Options go to scripts/bench_live.py.
set -eu
cd "$(dirname "$0")/.."
for program in ffmpeg Xvfb; do
    command -v "$program" >/dev/null || { echo "bench_live: skipped, there is no $program" >&2; exit 0; }
done
packages=target/bench-mediapipe
if ! cmp -s scripts/bench-clip-requirements.txt "$packages/requirements.txt"; then
    rm -rf "$packages"
    python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --target "$packages" \
        -r scripts/bench-clip-requirements.txt
    cp scripts/bench-clip-requirements.txt "$packages/requirements.txt"
fi
PYTHONDONTWRITEBYTECODE=1 exec python3 scripts/bench_live.py "$@"
