#!/bin/sh
# Runs a Python script with the packages of requirements.txt, which it installs under target/python when they changed.
# It needs Python 3 with pip, and no virtual environment.
#   scripts/python.sh scripts/convert_mediapipe.py
set -eu
here=$(cd "$(dirname "$0")" && pwd)
packages=$here/../target/python
if ! cmp -s "$here/requirements.txt" "$packages/requirements.txt"; then
    rm -rf "$packages"
    python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore \
        --target "$packages" -r "$here/requirements.txt"
    cp "$here/requirements.txt" "$packages/requirements.txt"
fi
PYTHONPATH=$packages PYTHONDONTWRITEBYTECODE=1 exec python3 "$@"
