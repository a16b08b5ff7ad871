#!/bin/sh
# Our networks beside ONNX Runtime, LiteRT, TensorFlow and Candle's own operations, on this machine: a table, and
# target/bench.json. It needs Python 3 with pip. Options go to scripts/bench.py.
set -eu
cd "$(dirname "$0")/.."
packages=$PWD/target/bench-python
if ! cmp -s scripts/bench-requirements.txt "$packages/requirements.txt"; then
    rm -rf "$packages"
    python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore \
        --target "$packages" -r scripts/bench-requirements.txt
    cp scripts/bench-requirements.txt "$packages/requirements.txt"
fi
program=$(cargo bench --locked --bench nets --no-run --message-format json 2>/dev/null |
    sed -n 's/.*"name":"nets".*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
PYTHONPATH=$packages PYTHONDONTWRITEBYTECODE=1 exec python3 scripts/bench.py "$program" target/bench.json "$@"
