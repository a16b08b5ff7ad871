"""Pictures and clips for the tests: a painted face of the repository, and sample clips where they were fetched."""

import pathlib
import subprocess
import sys

import numpy
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def decoded(path, width, height):
    """The frames of a picture or a clip, (frames, height, width, 3) RGB, by the program ffmpeg."""
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    raw = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    return numpy.frombuffer(raw, numpy.uint8).reshape(-1, height, width, 3)


@pytest.fixture(scope="session")
def program():
    """Runs the program with some words."""

    def run(*words):
        command = [sys.executable, "-m", "lanet_live", *map(str, words)]
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return run


@pytest.fixture(scope="session")
def analyser():
    import lanet_live

    return lanet_live.Analyser()


@pytest.fixture(scope="session")
def painted():
    """A painted face in the middle of grey, (312, 392, 3)."""
    face = decoded(ROOT / "tests/golden/painted.png", 192, 192)[0]
    return numpy.pad(face, ((60, 60), (100, 100), (0, 0)), constant_values=118)


@pytest.fixture(scope="session")
def clip():
    """A clip of 72 frames with one face."""
    path = ROOT / "target/media/single_face.mp4"
    if not path.exists():
        pytest.skip(f"{path} is not there; run make media")
    return path


@pytest.fixture(scope="session")
def short(painted, tmp_path_factory):
    """A clip of the painted face, five frames long, at ten frames a second."""
    path = tmp_path_factory.mktemp("clips") / "short.mp4"
    size = f"{painted.shape[1]}x{painted.shape[0]}"
    words = f"-v error -f rawvideo -pix_fmt rgb24 -s {size} -r 10 -i - -pix_fmt yuv420p -crf 10"
    subprocess.run(["ffmpeg", *words.split(), str(path)], input=painted.tobytes() * 5, check=True)
    return path
