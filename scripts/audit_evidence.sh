#!/bin/sh
# Plants wrong labels in the part `train` of FER+ shards and sees how many of them `lanet-live audit` and cleanlab find from the
# same out-of-fold probabilities: a table, and OUT/evidence.csv. It needs Python 3 with pip. With --start FILE --backbone NAME
# the features are those of another net, such as one that never saw these faces.
#   scripts/audit_evidence.sh --data SHARDS --out target/audit-evidence [--start ...] [--plant symmetric:0.1] [--seed 7]
set -eu
cd "$(dirname "$0")/.."
packages=$PWD/target/audit-python
if ! cmp -s scripts/audit-requirements.txt "$packages/requirements.txt"; then
    rm -rf "$packages"
    python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --target "$packages" \
        -r scripts/audit-requirements.txt
    cp scripts/audit-requirements.txt "$packages/requirements.txt"
fi
PYTHONPATH=$packages PYTHONDONTWRITEBYTECODE=1 exec python3 scripts/audit_evidence.py "$@"
