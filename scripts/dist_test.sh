#!/bin/sh
# Installs what scripts/dist.sh made into a clean Debian, the most modest first, and runs each there.
#   scripts/dist_test.sh DIST    needs root (or user namespaces for mmdebstrap and chroot), and the sample clips of `make media`
set -eu
cd "$(dirname "$0")/.."
dist=$(realpath "$1")
root=$PWD/target/dist-root
clip=/project/target/media/single_face.mp4
[ "$(id -u)" = 0 ] || { echo "dist: not tried in a clean Debian, which only root can make" >&2; exit 0; }
scripts/install.sh mmdebstrap

trap 'umount "$root/proc" 2>/dev/null || true; rm -rf "$root"' EXIT
rm -rf "$root"
mmdebstrap --quiet --variant=minbase bookworm "$root"
mount -t proc proc "$root/proc"
mkdir -p "$root/project/target/media" "$root/project/tests/golden" "$root/project/python" "$root/dist"
cp target/media/single_face.mp4 "$root/project/target/media"
cp tests/golden/painted.png "$root/project/tests/golden"
cp -r python/tests "$root/project/python"
cp "$dist"/*.deb "$dist"/*.whl "$dist"/*.tar.gz "$root/dist"
inside() { env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive chroot "$root" sh -euc "$1"; }
install_inside() { inside "apt-get update -qq; apt-get install -y -qq --no-install-recommends $1 >/dev/null 2>&1"; }

echo "== the tar, with nothing else"
inside "
    tar -C /opt -xzf /dist/lanet-live-*.tar.gz
    cd /opt/lanet-live-*/
    bin/lanet-live --version
    bin/lanet-live --input $clip --results /tmp/tar.jsonl --no-progress
    [ \$(grep -c '\"track\":1' /tmp/tar.jsonl) = 72 ]
    for file in man/man1/lanet-live.1 bash-completion/completions/lanet-live zsh/site-functions/_lanet-live \
        fish/vendor_completions.d/lanet-live.fish; do [ -s share/\$file ]; done
    ! bin/lanet-live --input $clip --output /tmp/tar.mp4 2>/tmp/why
    grep ffmpeg /tmp/why
"

echo "== the wheel, with Python and the program ffmpeg"
target/wheel-tools/bin/pip download -q --dest "$root/dist" --no-cache-dir "$(ls "$dist"/*.whl)[test]"
install_inside "python3-venv ffmpeg"
inside '
    ! ls /usr/lib/*/libopencv* 2>/dev/null
    python3 -m venv /opt/python
    /opt/python/bin/pip install -q --no-index --find-links /dist "lanet-live[test]"
    cd /tmp
    /opt/python/bin/python -m pytest -q /project/python/tests --import-mode=importlib --ignore=/project/python/tests/test_ray.py
    /opt/python/bin/lanet-live --version
'

echo "== the Debian package"
install_inside "/dist/*.deb"
inside "
    cd /tmp
    lanet-live --input $clip --output deb.mp4 --results deb.jsonl --no-progress
    cmp deb.jsonl tar.jsonl
    ffprobe -v error -show_entries stream=codec_type deb.mp4 | grep -q video
    dpkg -L lanet-live | grep -E 'man1|completions|_lanet-live'
"
echo "dist: all well"
