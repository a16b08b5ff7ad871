"""Videos as readings, as tables, and drawn; and the program."""

import csv
import os
import subprocess

import numpy
import pytest

import lanet_live


def test_a_table_is_what_the_program_writes(analyser, program, short, tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    assert program("--input", short, "--results", tmp_path / "a.csv", "--raw", "-q").returncode == 0
    with open(tmp_path / "a.csv", newline="") as file:
        header, *rows = csv.reader(file)
    table = analyser.read_video(short).to_arrow(raw=True)
    assert table.column_names == header and table.num_rows == len(rows) == 5
    shown = [["" if cell is None else cell for cell in row.values()] for row in table.to_pylist()]
    for ours, theirs in zip(shown, rows):
        for cell, text in zip(ours, theirs):
            assert float(text) == cell if isinstance(cell, float) else text == str(cell).replace("True", "true").replace("False", "false")
    assert table.schema.field("box_x").metadata[b"unit"] == b"pixels"
    assert table.schema.metadata[b"lanet-live.model"].decode() == analyser.fingerprint
    assert table.schema.metadata[b"lanet-live.version"].decode() == lanet_live.__version__
    assert pyarrow.table(analyser.read_video(short)).num_columns == table.num_columns - 8


def test_pandas_and_parquet_have_the_same_rows(analyser, short, tmp_path):
    pandas = pytest.importorskip("pandas")
    video = analyser.read_video(short)
    frame = video.to_pandas()
    assert list(frame["frame"]) == [0, 1, 2, 3, 4] and frame["expression"].notna().all()
    file = tmp_path / "a.parquet"
    video.to_parquet(file)
    pandas.testing.assert_frame_equal(pandas.read_parquet(file), frame)
    with pytest.raises(FileExistsError):
        video.to_parquet(file)
    video.to_parquet(file, overwrite=True)
    with pytest.raises(OSError):
        video.to_parquet(tmp_path / "no" / "a.parquet")
    with pytest.raises(ValueError, match="end it in .parquet"):
        video.to_parquet(tmp_path / "a.csv")
    assert os.listdir(tmp_path) == ["a.parquet"]


def test_a_video_is_read_again_and_in_parts(analyser, short):
    video = analyser.read_video(short)
    first = [reading.faces[0].to_dict() for reading in video]
    assert [reading.faces[0].to_dict() for reading in video] == first and len(first) == 5
    part = [reading.frame for reading in lanet_live.read_video(str(short), start=0.2, end=0.4)]
    assert part == [2, 3]


def test_a_person_is_read_against_their_own_neutral(analyser, short, tmp_path):
    neutral = tmp_path / "anna" / "neutral.toml"
    neutral.parent.mkdir()
    # Somebody whose face at rest is told as angry.
    neutral.write_text(f'fingerprint = "{analyser.fingerprint}"\nframes = 50\nlogits = [0.0, 0.0, 0.0, 0.0, 9.0, 0.0, 0.0, 0.0]\n')
    person = neutral.parent
    usual = analyser.read_video(short).to_pandas()
    own = lanet_live.read_video(short, person=person).to_pandas()
    assert "baseline" not in usual and own["baseline"].all()
    assert (own["p_anger"] <= usual["p_anger"]).all() and (own["p_anger"] < usual["p_anger"]).any()
    with pytest.raises(FileNotFoundError, match="nothing is known of 'otto'"):
        lanet_live.Analyser(person=tmp_path / "otto")
    with pytest.raises(ValueError, match="called"):
        lanet_live.Analyser(person="")


def test_a_real_clip_agrees_with_the_program(program, clip, tmp_path):
    pandas = pytest.importorskip("pandas")
    assert program("--input", clip, "--results", tmp_path / "a.csv", "-q").returncode == 0
    theirs = pandas.read_csv(tmp_path / "a.csv", float_precision="round_trip")
    ours = lanet_live.read_video(clip).to_pandas()
    pandas.testing.assert_frame_equal(ours, theirs, check_dtype=False, check_exact=True)


def test_what_is_no_video_is_refused_in_one_line(analyser, tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty.mp4").touch()
    for name, error in [("no.mp4", FileNotFoundError), ("text.mp4", ValueError), ("empty.mp4", ValueError), (".", (ValueError, OSError, RuntimeError))]:
        with pytest.raises(error) as raised:
            analyser.read_video(tmp_path / name)
        assert "\n" not in str(raised.value), name
    with pytest.raises(ValueError):
        analyser.read_video(tmp_path / "no.mp4", start=-1.0)


def test_an_overlay_has_every_frame(analyser, short, tmp_path):
    out = tmp_path / "out.mp4"
    lanet_live.overlay(short, out)
    drawn = len(list(analyser.read_video(out)))
    assert drawn == 5 and os.listdir(tmp_path) == ["out.mp4"]
    with pytest.raises(Exception, match="exists already"):
        lanet_live.overlay(short, out)
    lanet_live.overlay(short, out, overwrite=True, blur=True)
    with pytest.raises(ValueError):
        lanet_live.overlay(short, short, overwrite=True)


def write_png(path, picture):
    size = f"{picture.shape[1]}x{picture.shape[0]}"
    words = f"-v error -f rawvideo -pix_fmt rgb24 -s {size} -i - -frames:v 1"
    subprocess.run(["ffmpeg", *words.split(), str(path)], input=picture.tobytes(), check=True)


def test_a_model_is_evaluated_and_learnt(painted, tmp_path):
    for label, shade in [("happiness", 60), ("sadness", 0)]:
        (tmp_path / "data" / label).mkdir(parents=True)
        for n in range(10):
            picture = painted.astype(int) + shade + n
            write_png(tmp_path / "data" / label / f"{n}.png", numpy.clip(picture, 0, 255).astype(numpy.uint8))
    figures = lanet_live.evaluate(tmp_path / "data")
    assert 0 <= figures["accuracy"] <= 1 and figures["images"] == 20
    epochs = lanet_live.train(
        tmp_path / "data", tmp_path / "run", freeze="backbone", batch=6, epochs=2, views=2, seed=1
    )
    assert [row["epoch"] for row in epochs] == [1, 2] and all(row["loss"] > 0 for row in epochs)
    model = tmp_path / "run" / "best"
    assert lanet_live.Analyser(model=model).fingerprint != lanet_live.Analyser().fingerprint
    assert lanet_live.evaluate(tmp_path / "data", model=model)["images"] == 20
    with pytest.raises(RuntimeError, match="no"):
        lanet_live.evaluate(tmp_path / "nothing")
    with pytest.raises(ValueError, match="--nonsense"):
        lanet_live.evaluate(tmp_path / "data", nonsense=True)


def test_the_program_is_in_the_package(program):
    assert program("--version").stdout == f"lanet-live {lanet_live.__version__}\n"
    wrong = program("--nonsense")
    assert wrong.returncode == 2 and wrong.stderr.startswith("lanet-live: ") and wrong.stderr.count("\n") == 1


def test_everything_public_says_what_it_does():
    for name in lanet_live.__all__:
        thing = getattr(lanet_live, name)
        assert isinstance(thing, str) or thing.__doc__, name
        for inner in vars(thing) if isinstance(thing, type) else ():
            if not inner.startswith("_") and inner not in ("path", "start", "end"):
                assert getattr(thing, inner).__doc__, f"{name}.{inner}"
