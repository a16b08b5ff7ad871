#!/bin/sh
# Watches the program's memory over a long video: prints resident megabytes after a minute of work and at the end.
#   scripts/memory.sh [REPEATS=30]    reads the sample clip (20 s) so many times over
set -eu
clip=target/media/WolfgangLanger_Pexels.mp4
long=target/memory.mp4
ffmpeg -nostdin -v error -y -stream_loop "${1:-30}" -i "$clip" -c copy "$long"
target/release/lanet-live --input "$long" --output target/memory-out.mp4 --results target/memory.jsonl \
    --timeline target/memory.png -y --no-progress --stats &
program=$!
resident() { awk '/VmRSS/ { printf "%.0f", $2 / 1024 }' "/proc/$program/status" 2>/dev/null; }
second=0
while kill -0 "$program" 2>/dev/null; do
    now=$(resident || true)
    [ -n "$now" ] && last=$now
    [ "$second" = 60 ] && echo "after a minute: $last MB" >&2
    sleep 1
    second=$((second + 1))
done
wait "$program"
echo "at the end, after $second s: $last MB" >&2
rm -f "$long" target/memory-out.mp4 target/memory.jsonl target/memory.png
