"""What the program does, as functions that give its figures."""

import csv
import json
import os
import signal
import subprocess
import sys
import tempfile


def _run(*words, **options):
    """Runs the program in a process of its own: `split_valid="x"` is `--split-valid=x`, `raw=True` is `--raw`."""
    for name, value in options.items():
        name = "--" + name.replace("_", "-")
        if value is True:
            words += (name,)
        elif value is not None and value is not False:
            words += (f"{name}={os.fspath(value) if isinstance(value, os.PathLike) else value}",)
    command = [sys.executable, "-m", "lanet_live", *map(str, words), "--no-progress"]
    # In a session of its own it hears an interrupt once, from here, and finishes what it has begun.
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    program = subprocess.Popen(command, start_new_session=True, **pipes)
    try:
        _, said = program.communicate()
    except KeyboardInterrupt:
        program.send_signal(signal.SIGINT)
        program.communicate()
        raise
    if program.returncode != 0:
        lines = said.decode(errors="replace").strip().splitlines() or [f"exit code {program.returncode}"]
        line = lines[-1].removeprefix("lanet-live: ")
        raise ValueError(line) if program.returncode == 2 else RuntimeError(line)


def overlay(path, out, overwrite=False, blur=False, **options):
    """Writes a video with faces and expressions drawn on it and with its sound, or pictures.

    path     a video, a picture, or a folder of pictures
    out      .mp4, .m4v, .mov or .mkv, which needs the program ffmpeg; or a picture, or a folder
    overwrite  replace what exists
    blur     make faces unrecognisable
    options  those of `lanet-live`: start=10, end=20, smoothing=0.3, draw="box,bars", timeline="talk.png", ...
    """
    _run(input=path, output=out, overwrite=overwrite, blur=blur, **options)


def evaluate(data, **options):
    """How well a model tells the expressions of labelled pictures: a dict with "accuracy", "macro_f1", "recall",
    "confusion", "ece" (calibration error) and what else `lanet-live evaluate --json` writes.

    data     a folder with a folder of pictures for each expression, or with a table labels.csv, or such a table
    options  those of `lanet-live evaluate`: split="test", model="runs/first/best", prior="balanced", ...
    """
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "figures.json")
        _run("evaluate", data=data, json=file, **options)
        with open(file, encoding="utf-8") as figures:
            return json.load(figures)


def train(data, output, **options):
    """Learns to tell expressions from labelled pictures; the model is then in `output`/best.

    Gives the figures of each epoch: a list of dicts with "epoch", "loss", "accuracy" and what else the run's
    metrics.csv has.

    data     as for `evaluate`
    output   the folder of the run
    options  those of `lanet-live train`: freeze="backbone", epochs=8, ...
    """
    _run("train", data=data, output=output, **options)
    with open(os.path.join(os.fspath(output), "metrics.csv"), encoding="utf-8", newline="") as table:
        return [{name: _number(cell) for name, cell in row.items()} for row in csv.DictReader(table)]


def _number(cell):
    try:
        return int(cell) if cell.isdigit() else float(cell)
    except ValueError:
        return cell or None
