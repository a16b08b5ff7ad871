#!/bin/sh
# Tests the corpus command on Ray with the wheel that `make wheel` has left: a corpus, a killed driver, a killed node.
set -eu
cd "$(dirname "$0")/.."
fresh=target/wheel-ray
wheel=$(ls target/wheels/*.whl) || { echo "there is no wheel, run 'make wheel' first" >&2; exit 1; }
[ -d $fresh ] || python3 -m venv $fresh
$fresh/bin/pip install -q --force-reinstall --no-deps "$wheel"
$fresh/bin/pip install -q "$wheel[test,ray]"
# Not from the folder python, whose package of that name has no library.
cd target
"../$fresh/bin/python" -m pytest -q ../python/tests/test_ray.py --import-mode=importlib
