"""Corpora on Ray: `make corpus-test` runs these; they take minutes."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

ray = pytest.importorskip("ray")
parquet = pytest.importorskip("pyarrow.parquet")
import pyarrow.dataset

from lanet_live import corpus
from lanet_live.ray import plan, read_videos

VIDEOS, DAMAGED, FRAMES = 60, 5, 6


@pytest.fixture(scope="module")
def videos(tmp_path_factory, request):
    """A folder with 60 short videos cut from the sample clips, five of them damaged."""
    media = pathlib.Path(__file__).resolve().parents[2] / "target/media"
    clips = [media / name for name in ("WolfgangLanger_Pexels.mp4", "single_face.mp4", "face_noface.mov")]
    if not all(clip.exists() for clip in clips):
        pytest.skip("the sample clips are not there; run make media")
    folder = tmp_path_factory.mktemp("corpus")
    for n in range(VIDEOS):
        name = folder / f"{'abc'[n % 3]}" / f"{n:02}.mp4"
        name.parent.mkdir(exist_ok=True)
        start = (n // 3) * 0.1
        words = f"-v error -ss {start} -i {clips[n % 3]} -frames:v {FRAMES} -an -vf scale=320:-2 -crf 20"
        subprocess.run(["ffmpeg", *words.split(), str(name)], check=True)
    paths = sorted(folder.glob("*/*.mp4"))
    for n, path in enumerate(paths[7::11][:DAMAGED]):
        whole = path.read_bytes()
        damages = [b"", b"no video at all", whole[: len(whole) // 3], bytes(len(whole)), whole[::-1]]
        path.write_bytes(damages[n])
    return folder


@pytest.fixture(scope="module")
def expected(videos, tmp_path_factory):
    """What the command gives: {video: its rows}, and those that it cannot read."""
    out = tmp_path_factory.mktemp("command")
    command = [sys.executable, "-m", "lanet_live", "--input", "*/*.mp4", "--results", f"{out}/", "-q"]
    ran = subprocess.run(command, cwd=videos, stderr=subprocess.PIPE, text=True)
    failed = {line.split()[1] for line in ran.stderr.splitlines() if line.startswith("failed: ")}
    assert ran.returncode == 1 and len(failed) == DAMAGED, ran.stderr
    rows = {}
    for file in out.glob("**/*.parquet"):
        rows[str(file.relative_to(out)).removesuffix(".parquet")] = parquet.read_table(file).to_pylist()
    assert len(rows) == VIDEOS - DAMAGED
    return rows, failed


def run(videos, out, *words, **options):
    """Runs the command in the folder of the videos."""
    command = [sys.executable, "-m", "lanet_live.corpus", "*/*.mp4", "--results", str(out), *words]
    return subprocess.Popen(command, cwd=videos, stderr=subprocess.PIPE, text=True, **options)


def same(out, expected):
    """Whether a folder has the expected rows, each once."""
    rows, failed = expected
    found = {}
    for row in pyarrow.dataset.dataset(out).to_table().to_pylist():
        assert row.pop("piece") == 0
        found.setdefault(row["source"], []).append(row)
    assert found.keys() == rows.keys()
    for source, theirs in rows.items():
        assert sorted(found[source], key=lambda row: (row["frame"], row["track"] or 0)) == theirs, source
    manifest = list(corpus.lines(pathlib.Path(out) / corpus.MANIFEST))
    assert len(manifest) == len(rows) == len({(line["source"], line["piece"]) for line in manifest})
    said = (pathlib.Path(out) / corpus.FAILED).read_text().splitlines()[1:]
    assert {line.split(",")[0] for line in said} == failed
    assert not [name for name in pathlib.Path(out).glob("**/.*")]


def test_a_corpus_has_the_rows_of_the_command(videos, expected, tmp_path):
    program = run(videos, tmp_path / "out", "--workers", "2")
    _, said = program.communicate(timeout=500)
    assert program.returncode == 1 and said.count("failed: ") == DAMAGED, said
    same(tmp_path / "out", expected)
    # Nothing is to be done any more but to try again what failed.
    program = run(videos, tmp_path / "out", "--workers", "2", "--resume")
    _, said = program.communicate(timeout=500)
    assert program.returncode == 1 and f"{VIDEOS - DAMAGED} were done before" in said and "read 0 of" in said, said
    for words, refusal in [((), "--resume"), (("--resume", "--smoothing", "1"), "smoothing was 0.0 and is 1.0")]:
        program = run(videos, tmp_path / "out", *words)
        _, said = program.communicate(timeout=100)
        assert program.returncode == 1 and refusal in said and said.count("\n") == 1, said


def test_after_a_killed_driver_only_what_is_missing_is_done(videos, expected, tmp_path):
    out = tmp_path / "out"
    program = run(videos, out, "--workers", "2", start_new_session=True)
    manifest = out / corpus.MANIFEST
    deadline = time.time() + 200
    while len(list(corpus.lines(manifest))) < 10 and program.poll() is None and time.time() < deadline:
        time.sleep(0.02)
    os.killpg(program.pid, signal.SIGKILL)
    program.communicate()
    before = list(corpus.lines(manifest))
    assert 10 <= len(before) < VIDEOS - DAMAGED, "it was killed in mid-run"
    times = {line["file"]: (out / line["file"]).stat().st_mtime_ns for line in before}
    # A line that was torn.
    manifest.write_text(manifest.read_text().rstrip("\n")[:-9])
    program = run(videos, out, "--workers", "2", "--resume")
    _, said = program.communicate(timeout=500)
    assert f"{len(before) - 1} were done before" in said, said
    same(out, expected)
    assert all((out / file).stat().st_mtime_ns == then for file, then in times.items())


def test_a_node_that_is_killed_loses_nothing_and_doubles_nothing(videos, expected, tmp_path):
    from ray.cluster_utils import Cluster

    out = tmp_path / "out"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        second = cluster.add_node(num_cpus=1)
        program = run(videos, out, "--address", cluster.address)
        deadline = time.time() + 200
        manifest = out / corpus.MANIFEST
        while len(list(corpus.lines(manifest))) < 8 and program.poll() is None and time.time() < deadline:
            time.sleep(0.05)
        assert program.poll() is None, program.stderr.read()
        cluster.remove_node(second, allow_graceful=False)
        _, said = program.communicate(timeout=500)
        assert program.returncode == 1 and said.count("failed: ") == DAMAGED, said
        same(out, expected)
    finally:
        cluster.shutdown()


def test_a_dataset_has_pieces_errors_and_the_same_rows(videos, expected):
    rows, failed = expected
    some = [videos / source for source in [*sorted(rows)[:3], *sorted(failed)[:1]]]
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        dataset = read_videos(some)
        found = dataset.take_all()
        # A dataset of paths, and pieces of a second: the frames are the same.
        clip = pathlib.Path(__file__).resolve().parents[2] / "target/media/single_face.mp4"
        paths = ray.data.from_items([{"file": str(clip)}])
        pieces = read_videos(paths, piece=1, column="file", smoothing=0.1).take_all()
    finally:
        ray.shutdown()
    assert [row["source"] for row in found if row["error"]] == [str(some[3])]
    for path in some[:3]:
        ours = [{k: v for k, v in row.items() if k not in ("source", "piece", "error")} for row in found if row["source"] == str(path)]
        theirs = [{k: v for k, v in row.items() if k != "source"} for row in rows[str(path.relative_to(videos))]]
        assert sorted(ours, key=lambda row: row["frame"]) == theirs
    assert sorted(row["frame"] for row in pieces) == list(range(72))
    # Of 2.4 s: the rest is no piece of its own.
    assert {row["piece"] for row in pieces} == {0, 1} and len(plan(str(clip), 1)) == 2


@pytest.mark.parametrize(
    "words, line",
    [
        (["none/*.mp4"], "no file matches 'none/*.mp4'"),
        (["a/00.mp4", "--piece", "0"], "piece is a number of seconds"),
        (["a/00.mp4", "--prior", "often"], "often"),
        (["a/00.mp4", "--workers", "0"], "--workers"),
        (["a/00.mp4", "--address", "127.0.0.1:1"], "there is no Ray cluster at '127.0.0.1:1'"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(videos, tmp_path, words, line, monkeypatch, capsys):
    monkeypatch.chdir(videos)
    assert corpus.main([*words, "--results", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert line in said and said.count("\n") == 1, said


def test_settings_of_a_dataset_are_refused_at_once(videos):
    for asked, error in [
        ((["none.mp4"], {}), FileNotFoundError),
        (([], {}), ValueError),
        (([videos / "a/00.mp4"], {"max_faces": 0}), ValueError),
        (([videos / "a/00.mp4"], {"piece": 0}), ValueError),
    ]:
        with pytest.raises(error):
            read_videos(asked[0], **asked[1])
