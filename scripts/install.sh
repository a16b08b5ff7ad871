#!/bin/sh
# Installs those of the packages that are absent, on Debian and Ubuntu.
#   scripts/install.sh PACKAGE...
set -eu
missing=
for package; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if ! command -v apt-get >/dev/null; then
    echo "setup: please install:$missing (the names are Debian's; see README.md for other systems)" >&2
    exit 1
fi
echo "setup: installing$missing" >&2
root=
[ "$(id -u)" = 0 ] || root=sudo
export DEBIAN_FRONTEND=noninteractive
$root apt-get update -qq
# shellcheck disable=SC2086 # one word for each package
$root apt-get install -y -qq --no-install-recommends $missing >/dev/null
