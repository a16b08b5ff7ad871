#!/bin/bash
# camera-vm.sh CAMERA_VM PROGRAM VIDEO [PART...]
#
# Tries the program on a real V4L2 camera in an emulated machine: CAMERA_VM is the folder with its `run` and
# `prepare`, PROGRAM the lanet-live to try (not under /tmp), VIDEO what the camera sees. Skips, and says so,
# where there is no such folder. Few frames: the emulated processor reads one in ten seconds or more, and a part takes
# minutes. PARTS: yuyv422 mjpeg unplugged opencv back virtual teach missing; all of them, if none is named; and lesson.
set -euo pipefail
[ $# -ge 3 ] || { echo "usage: camera-vm.sh CAMERA_VM PROGRAM VIDEO [PART...]" >&2; exit 2; }
vm=$1 program=$(realpath "$2") video=$(realpath "$3")
shift 3
parts=${*:-yuyv422 mjpeg unplugged opencv back virtual teach missing}
[ -x "$vm/run" ] || { echo "camera-vm: skipped, there is no $vm/run"; exit 0; }
"$vm/prepare"
out=$(mktemp -d); trap 'rm -rf "$out"' EXIT

fail() { echo "camera-vm: $part: $1" >&2; cat "$out/stderr" >&2; exit 1; }

# What the program left in $out/results.jsonl: numbers that grow, times that grow, at least so many frames.
check() {
  python3 - "$out/results.jsonl" "$1" <<'PYTHON'
import json, sys
rows = [json.loads(line) for line in open(sys.argv[1])]
frames = sorted({(row["frame"], row["time"]) for row in rows})
assert len(frames) >= int(sys.argv[2]), f"{len(frames)} frames"
assert all(a[0] < b[0] and a[1] < b[1] for a, b in zip(frames, frames[1:])), frames
print(f"{len(frames)} frames, {sum(row['track'] is not None for row in rows)} faces")
PYTHON
}

format() { # FORMAT
  CAMVM_FORMAT=$1 "$vm/run" "$video" "$out" -- \
    "$program" --camera 0 --no-window --frames 4 --results /mnt/results.jsonl || fail "$1: exit code $?"
  check 4 || fail "$1: wrong results"
}
part_yuyv422() { format yuyv422; }
part_mjpeg() { format mjpeg; }

part_unplugged() {
  code=0
  CAMVM_PULL_S=${CAMVM_PULL_S:-90} "$vm/run" "$video" "$out" -- \
    "$program" --camera 0 --no-window --results /mnt/results.jsonl || code=$?
  [ $code -eq 1 ] || fail "exit code $code"
  check 1 || fail "what was recorded is not kept"
  [ "$(grep -c "the camera 'camera-vm'" "$out/stderr")" -eq 1 ] || fail "not one clear line"
}

part_opencv() {
  "$vm/run" "$video" "$out" -- \
    "$program" --camera 0 --capture opencv --no-window --frames 4 --results /mnt/results.jsonl || fail "exit code $?"
  check 4 || fail "wrong results"
}

# Inside, the player that `run` started is ended after 3 frames, and another one plays in another size.
part_back() {
  ffmpeg -nostdin -v error -y -i "$video" -frames:v 40 -vf scale=320:180 -pix_fmt yuyv422 -f rawvideo "$out/small"
  cat > "$out/pulled.sh" <<'SCRIPT'
"$1" --camera 0 --no-window --reconnect 300 --frames 6 --results - > /mnt/results.jsonl &
program=$!
until [ "$(wc -l < /mnt/results.jsonl)" -ge 3 ]; do sleep 1; done
kill "$(pgrep -x .feed)"
sleep 15
wc -l < /mnt/results.jsonl > /mnt/before
cp /mnt/.feed /tmp/feed-small
/tmp/feed-small /dev/video0 /mnt/small YUYV 320 180 5 &
wait $program
SCRIPT
  "$vm/run" "$video" "$out" -- bash /mnt/pulled.sh "$program" || fail "exit code $?"
  check 6 || fail "wrong results"
  [ "$(cat "$out/before")" -lt 6 ] || fail "it was not pulled"
}

# A virtual camera is fed by the program, twice: the second time another one looks.
part_virtual() {
  cat > "$out/fed.sh" <<'SCRIPT'
kill "$(pgrep -x .feed)"
sleep 2
"$1" --input "$2" --frames 1 --output /dev/video0
"$1" --input "$2" --output /dev/video0 &
program=$!
seen=1
for _ in $(seq 60); do
    sleep 5
    timeout 100 ffmpeg -nostdin -v error -y -f v4l2 -i /dev/video0 -frames:v 2 -f rawvideo -pix_fmt bgr24 /mnt/seen && seen=0 && break
done 2>/tmp/why
[ $seen -eq 0 ] || tail -n 3 /tmp/why >&2
kill -INT $program
wait $program
[ $? -eq 130 ]
SCRIPT
  "$vm/run" "$video" "$out" -- bash /mnt/fed.sh "$program" "$video" || fail "exit code $?"
  python3 - "$out/seen" <<'PYTHON' || fail "no picture is seen"
import sys
seen = open(sys.argv[1], "rb").read()
assert len(set(seen)) > 50, f"{len(seen)} bytes, {len(set(seen))} of them different"
print(f"{len(seen)} bytes of pictures")
PYTHON
}

# A clip of five seconds has a frame or two there: too few to learn from, but they are recorded, and that is said.
part_teach() {
  code=0
  "$vm/run" "$video" "$out" -- bash -c 'cd /mnt; "$1" teach --person vm --no-window --expressions happiness --rounds 1' \
    teach "$program" || code=$?
  grep -q "^REC neutral" "$out/stderr" || fail "nothing was marked REC"
  ls "$out"/recordings/vm/*/*.mp4 || fail "no clip is kept"
  [ $code -eq 0 ] || grep -q "are too few to learn from" "$out/stderr" || fail "exit code $code"
}

# The whole lesson, to a view with what was learnt: more than half an hour, so it is tried only if it is named.
part_lesson() {
  cat > "$out/lesson.sh" <<'SCRIPT'
cd /mnt
"$1" teach --person vm --no-window --expressions happiness --rounds 6 < /dev/null &&
  "$1" --camera 0 --person vm --no-window --frames 2 --results /mnt/results.jsonl
SCRIPT
  CAMVM_S=${CAMVM_S:-4000} "$vm/run" "$video" "$out" -- bash /mnt/lesson.sh "$program" || fail "exit code $?"
  ls "$out/calibration/vm/model/weights.safetensors" || fail "no profile is kept"
  check 2 || fail "wrong results"
}

part_missing() {
  code=0
  "$vm/run" "$video" "$out" -- "$program" --camera 7 --no-window --results /mnt/none.jsonl || code=$?
  [ $code -eq 1 ] && [ ! -e "$out/none.jsonl" ] || fail "exit code $code"
  grep -q "there is no camera '7'" "$out/stderr" || fail "not said"
}

for part in $parts; do
  declare -F "part_$part" >/dev/null || { echo "camera-vm: there is no part '$part'" >&2; exit 2; }
done
for part in $parts; do
  echo "== $part"
  rm -f "$out"/*.jsonl
  "part_$part"
done
echo "camera-vm: all well"
