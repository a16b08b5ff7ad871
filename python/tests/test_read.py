"""One picture, and frame after frame."""

import multiprocessing
import subprocess
import sys
import textwrap
import threading

import numpy
import pytest

import lanet_live


def test_a_face_has_its_numbers(analyser, painted):
    (face,) = analyser.read(painted)
    assert face.track == 1 and 0.5 < face.score <= 1
    x, y, w, h = face.box
    assert 100 < x + w / 2 < 292 and 60 < y + h / 2 < 252
    assert face.expression == max(face.probabilities, key=face.probabilities.get)
    assert face.confidence == face.probabilities[face.expression]
    assert list(face.probabilities)[:2] == ["neutral", "happiness"]
    assert abs(sum(face.probabilities.values()) - 1) < 1e-5
    assert face.landmarks.shape == (468, 3) and face.landmarks.dtype == numpy.float32
    row = face.to_dict()
    assert row["v"] == 1 and row["expression"] == face.expression and len(row["box"]) == 4
    assert "painted" not in repr(face) and face.expression in repr(face)


def test_the_order_of_channels_and_of_memory_does_not_matter(analyser, painted):
    told = [face.to_dict() for face in analyser.read(painted)]
    bgr = painted[:, :, ::-1]
    assert not bgr.flags.c_contiguous
    assert [face.to_dict() for face in analyser.read(bgr, order="bgr")] == told
    assert [face.to_dict() for face in analyser.read(numpy.asfortranarray(painted))] == told
    wide = numpy.zeros((312, 800, 3), numpy.uint8)
    wide[:, :392] = painted
    assert [face.to_dict() for face in analyser.read(wide[:, :392])] == told
    assert analyser.read(numpy.full((40, 60, 3), 118, numpy.uint8)) == []


@pytest.mark.parametrize(
    "image, error, words",
    [
        (numpy.zeros((4, 4), numpy.uint8), ValueError, "[4, 4] of uint8"),
        (numpy.zeros((4, 4, 4), numpy.uint8), ValueError, "[4, 4, 4] of uint8"),
        (numpy.zeros((4, 4, 3), numpy.float32), ValueError, "[4, 4, 3] of float32"),
        (numpy.zeros((0, 4, 3), numpy.uint8), ValueError, "no pixels"),
        ([[1, 2, 3]], TypeError, "not list"),
        (None, TypeError, "not NoneType"),
    ],
)
def test_what_is_no_image_is_refused_in_one_line(analyser, image, error, words):
    for read in (analyser.read, lambda image: list(analyser.stream([image]))):
        with pytest.raises(error) as raised:
            read(image)
        assert words in str(raised.value) and "\n" not in str(raised.value)


def test_settings_that_cannot_be_are_refused_in_one_line(analyser, painted):
    for settings, error in [
        ({"model": "no/such/model"}, FileNotFoundError),
        ({"device": "gpu"}, ValueError),
        ({"device": "cuda:0"}, RuntimeError),
        ({"max_faces": 0}, ValueError),
        ({"smoothing": -1.0}, ValueError),
        ({"smoothing": float("nan")}, ValueError),
        ({"prior": "often"}, (ValueError, FileNotFoundError)),
    ]:
        with pytest.raises(error) as raised:
            lanet_live.Analyser(**settings)
        assert "\n" not in str(raised.value), settings
    with pytest.raises(ValueError):
        analyser.read(painted, order="gbr")
    for fps in (0.0, -1.0, float("inf")):
        with pytest.raises(ValueError):
            analyser.stream([], fps=fps)
    with pytest.raises(TypeError):
        analyser.stream(None)


def test_a_stream_gives_a_reading_for_each_frame(analyser, painted):
    empty = numpy.full_like(painted, 118)
    readings = list(analyser.stream(iter([painted, painted, empty, painted]), fps=10))
    assert [(reading.frame, round(reading.time, 3)) for reading in readings] == [(0, 0), (1, 0.1), (2, 0.2), (3, 0.3)]
    assert [len(reading) for reading in readings] == [1, 1, 0, 1]
    assert readings[3].faces[0].track == 1
    assert list(analyser.stream([])) == []


def test_an_iterator_that_raises_is_heard_after_the_frames_before(analyser, painted):
    def frames():
        yield painted
        yield painted
        raise ZeroDivisionError("of the frames")

    readings = analyser.stream(frames())
    assert next(readings).frame == 0 and next(readings).frame == 1
    with pytest.raises(ZeroDivisionError, match="of the frames"):
        next(readings)
    with pytest.raises(StopIteration):
        next(readings)


def test_frames_are_asked_for_as_they_are_needed(analyser, painted):
    asked = 0

    def frames():
        nonlocal asked
        while True:
            asked += 1
            yield painted

    readings = analyser.stream(frames())
    next(readings)
    assert asked <= 4
    del readings


def test_threads_do_not_disturb_each_other(painted):
    mirrored = numpy.ascontiguousarray(painted[:, ::-1])
    told = {}

    def work(name, image):
        own = lanet_live.Analyser(smoothing=1.0)
        told[name] = [[face.to_dict() for face in reading.faces] for reading in own.stream([image] * 6)]

    alone = {}
    for name, image in [("a", painted), ("b", mirrored)]:
        work(name, image)
        alone[name] = told[name]
    threads = [threading.Thread(target=work, args=pair) for pair in [("a", painted), ("b", mirrored)]]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert told == alone and alone["a"] != alone["b"]


def _reads(analyser, image, says):
    try:
        analyser.read(image)
        says.send("read")
    except RuntimeError as error:
        says.send(str(error))


def test_an_analyser_is_refused_after_a_fork(analyser, painted):
    says, said = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=_reads, args=(analyser, painted, said))
    child.start()
    assert says.poll(20) and "forked" in says.recv()
    child.join()


def test_an_interrupt_is_heard(painted, tmp_path):
    numpy.save(tmp_path / "painted.npy", painted)
    code = f"""
        import itertools, numpy, os, signal, threading, lanet_live
        # Where a shell starts this in the background, interrupts are ignored, and Python leaves it so.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        analyser = lanet_live.Analyser()
        threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        try:
            for reading in analyser.stream(itertools.repeat(numpy.load({str(tmp_path / "painted.npy")!r}))):
                pass
        except KeyboardInterrupt:
            print("heard")
    """
    ran = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, timeout=60)
    assert ran.stdout == b"heard\n"
