#!/bin/sh
# Builds what reads videos of FFmpeg, from the sources of the system's own package (Debian, Ubuntu), into target/ffmpeg:
# packages that carry their libraries take these. They are a third as large as the system's, which bring encoders and
# libraries under the GPL.
set -eu
cd "$(dirname "$0")/.."
home=$PWD/target/ffmpeg
[ ! -f "$home/done" ] || exit 0
rm -rf "$home"
mkdir -p "$home/apt/parts" "$home/apt/lists/partial" "$home/apt/cache/archives/partial" "$home/source"

scripts/install.sh dpkg-dev libdav1d-dev libssl-dev nasm zlib1g-dev

# The sources of what the system takes its packages from, without a change to the system.
for list in /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list.d/ubuntu.sources; do
    [ -f "$list" ] || continue
    sed 's/^deb /deb-src /; s/^Types: deb$/Types: deb-src/' "$list" >"$home/apt/parts/$(basename "$list")"
done
apt="apt-get -qq -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts=$home/apt/parts
    -o Dir::State::Lists=$home/apt/lists -o Dir::Cache=$home/apt/cache -o APT::Sandbox::User=root"
$apt update
(cd "$home/source" && $apt source ffmpeg)

cd "$home"/source/ffmpeg-*/
./configure --prefix="$home" --enable-shared --disable-static --disable-debug --disable-doc --disable-programs \
    --disable-autodetect --enable-zlib --enable-libdav1d --enable-openssl --enable-version3 \
    --disable-avdevice --disable-avfilter --disable-postproc --disable-encoders --disable-muxers --disable-hwaccels \
    >"$home/build.log"
make -j"$(nproc)" install >>"$home/build.log" 2>&1
grep -m1 '^License' "$home/build.log"
rm -rf "$home/apt" "$home/source"
touch "$home/done"
