#!/bin/sh
# Drives the page of an audit in headless Chromium: it renders without a network, sorts, filters, corrects, and a file of
# corrections comes out; OUT gets that file and pictures of the page. It needs Python 3 and chromium.
#   scripts/audit_page.sh out/audit.html OUT
set -eu
exec python3 "$(dirname "$0")/audit_page.py" "$@"
