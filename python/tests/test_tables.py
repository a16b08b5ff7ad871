"""Files of the program as pandas, polars and DuckDB read them."""

import csv

import pytest


@pytest.fixture(scope="module")
def files(program, short, tmp_path_factory):
    """The same results as CSV and as Parquet, and the CSV's rows."""
    folder = tmp_path_factory.mktemp("tables")
    for name in ("a.csv", "a.parquet"):
        ran = program("--input", short, "--results", folder / name, "--raw", "-q")
        assert ran.returncode == 0, ran.stderr
    with open(folder / "a.csv", newline="") as file:
        return folder / "a.parquet", list(csv.DictReader(file))


def agree(rows, expected):
    """Whether typed rows are what the CSV says."""
    assert len(rows) == len(expected) == 5 and list(rows[0]) == list(expected[0])
    for row, texts in zip(rows, expected):
        for name, text in texts.items():
            cell = row[name]
            if name in ("source", "expression"):
                assert cell == text
            elif name == "unsure":
                assert cell is (text == "true") or bool(cell) == (text == "true")
            else:
                assert float(text) == cell, name


def test_pandas(files):
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_parquet(files[0])
    agree(frame.to_dict("records"), files[1])
    assert [str(frame.dtypes[name]) for name in ("frame", "time", "unsure")] == ["int64", "float64", "bool"]


def test_polars(files):
    polars = pytest.importorskip("polars")
    frame = polars.read_parquet(files[0])
    agree(frame.to_dicts(), files[1])
    assert frame.schema["track"] == polars.Int64 and frame.schema["expression"] == polars.String


def test_duckdb(files):
    duckdb = pytest.importorskip("duckdb")
    found = duckdb.execute("SELECT * FROM read_parquet(?)", [str(files[0])])
    names = [column[0] for column in found.description]
    agree([dict(zip(names, row)) for row in found.fetchall()], files[1])
    about = duckdb.execute("SELECT key, value FROM parquet_kv_metadata(?)", [str(files[0])]).fetchall()
    about = {bytes(key): bytes(value) for key, value in about}
    assert len(about[b"lanet-live.model"]) == 64 and b"lanet-live.version" in about


def test_units_are_in_the_fields_and_the_model_in_the_file(analyser, files):
    parquet = pytest.importorskip("pyarrow.parquet")
    schema = parquet.read_schema(files[0])
    assert schema.field("box_x").metadata[b"unit"] == b"pixels" and schema.field("yaw").metadata[b"unit"] == b"degrees"
    assert schema.metadata[b"lanet-live.model"].decode() == analyser.fingerprint
