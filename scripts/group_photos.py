"""Unpacks six group photos of the npm package @vladmandic/face-api into target/groups.

They are not ours to pass on. With them, a test counts the faces in whole pictures; nothing else needs them.

    python3 scripts/group_photos.py [--downloads target/downloads] [--out target/groups]
"""

import argparse
import tarfile
from pathlib import Path

from mediapipe_files import package

PACKAGE = "@vladmandic/face-api@1.7.15"
SHA256 = "0d77fffeef362ef9c0939cf6c567f3a2e8e177f114fa257a3270cbd2e509b031"
KNOWN = {PACKAGE: ("vladmandic-face-api-1.7.15.tgz", SHA256)}


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--downloads", type=Path, default=Path("target/downloads"))
    arguments.add_argument("--out", type=Path, default=Path("target/groups"))
    arguments = arguments.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tarfile.open(package(PACKAGE, arguments.downloads, KNOWN)) as archive:
        for number in range(1, 7):
            picture = archive.extractfile(f"package/demo/sample{number}.jpg").read()
            (arguments.out / f"sample{number}.jpg").write_bytes(picture)


if __name__ == "__main__":
    main()
