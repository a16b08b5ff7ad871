#!/bin/sh
# Installs what the program is built from, on Debian and Ubuntu, and only what is absent.
#   scripts/setup.sh [--tests]    with what the tests need besides
set -eu
cd "$(dirname "$0")/.."
missing=
need() { # PACKAGE COMMAND...: the package is missing if the command fails
    package=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing $package"
}
libclang() { ls /usr/lib/llvm-*/lib/libclang.so* /usr/lib/*/libclang*.so* 2>/dev/null | grep -q .; }

need pkg-config pkg-config --version
need g++ c++ --version
need clang clang --version
need libclang-dev libclang
need ffmpeg ffmpeg -version
# A window looks for these when it opens; without a screen they are not needed, but small.
need libx11-xcb1 sh -c 'ls /usr/lib/*/libX11-xcb.so.1'
need libxcursor1 sh -c 'ls /usr/lib/*/libXcursor.so.1'
need libxi6 sh -c 'ls /usr/lib/*/libXi.so.6'
need libxkbcommon-x11-0 sh -c 'ls /usr/lib/*/libxkbcommon-x11.so.0'
need python3-pip python3 -m pip --version
# pkg-config may be among the missing, so look for its file as well.
need libopencv-dev sh -c 'pkg-config --exists opencv4 || ls /usr/lib/*/pkgconfig/opencv4.pc'
if [ "${1-}" = --tests ]; then
    need npm npm --version
fi
[ -n "$missing" ] || exit 0
# shellcheck disable=SC2086 # one word for each package
exec scripts/install.sh $missing
