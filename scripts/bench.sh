#!/bin/sh
# Our networks beside ONNX Runtime, LiteRT, TensorFlow and Candle's own operations, on this machine: a table, and
# target/bench.json. It needs Python 3 with pip. Options go to scripts/bench.py.
set -eu
cd "$(dirname "$0")/.."
packages=$PWD/target/bench-python
install() { # REQUIREMENTS FOLDER
    cmp -s "$1" "$2/requirements.txt" && return
    rm -rf "$2"
    python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --target "$2" -r "$1"
    cp "$1" "$2/requirements.txt"
}
install scripts/bench-requirements.txt "$packages"
# Apart from the others, whose numpy it refuses.
install scripts/bench-clip-requirements.txt target/bench-mediapipe
program=$(cargo bench --locked --bench nets --no-run --message-format json 2>/dev/null |
    sed -n 's/.*"name":"nets".*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
PYTHONPATH=$packages PYTHONDONTWRITEBYTECODE=1 exec python3 scripts/bench.py "$program" target/bench.json "$@"
