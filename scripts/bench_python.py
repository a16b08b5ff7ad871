#!/usr/bin/env python3
"""How fast the Python package is: arrays beside the command, and a corpus by one and by two workers.

    target/wheel-ray/bin/python scripts/bench_python.py [CLIP] [--repeats 3]      after make wheel and make corpus-test

Frames a second over the clip, interleaved, medians: by the command (`--results`, which reads the video as well), by `read` for
each frame alone, by `stream`, and by `read_video`. Then a corpus of copies of the clip, read by Ray: seconds with one worker
that has one core (`taskset`), and with two that have two, and what is needed to say what many machines would give.
"""

import argparse
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy

import lanet_live


def seconds(work):
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("clip", nargs="?", default="target/media/WolfgangLanger_Pexels.mp4")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--copies", type=int, default=12)
    parser.add_argument("--corpus-only", action="store_true")
    asked = parser.parse_args()

    size = subprocess.check_output(
        ["ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "stream=width,height", "-of", "csv=p=0", asked.clip], text=True
    )
    width, height = map(int, size.strip().strip(",").split(","))
    raw = subprocess.check_output(
        ["ffmpeg", "-v", "error", "-i", asked.clip, "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    )
    frames = numpy.frombuffer(raw, numpy.uint8).reshape(-1, height, width, 3)
    analyser = lanet_live.Analyser()

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        command = [sys.executable, "-m", "lanet_live", "--input", asked.clip, "-y", "-q", "--results", str(folder / "rows.jsonl")]
        ways = {
            "the command": lambda: subprocess.run(command, check=True),
            "read": lambda: [analyser.read(frame) for frame in frames],
            "stream": lambda: list(analyser.stream(frames, fps=24)),
            "read_video": lambda: list(analyser.read_video(asked.clip)),
        }
        took = {name: [] for name in ways}
        for _ in range(0 if asked.corpus_only else asked.repeats):
            for name, work in ways.items():
                took[name].append(seconds(work))
        for name, times in took.items():
            if times:
                middle, usual = statistics.median(times), statistics.median(took["the command"])
                print(f"{name:12} {len(frames) / middle:6.1f} frames/s, {usual / middle:.2f} of the command's", flush=True)

        corpus = folder / "corpus"
        corpus.mkdir()
        for n in range(asked.copies):
            (corpus / f"{n}.mp4").symlink_to(pathlib.Path(asked.clip).resolve())
        took = {1: [], 2: []}
        for turn in range(asked.repeats):
            for workers in took:
                out = folder / f"out-{turn}-{workers}"
                words = ["-m", "lanet_live.corpus", "*.mp4", "--results", str(out), "--workers", str(workers)]
                cores = ["taskset", "-c", ",".join(map(str, range(workers)))]
                run = subprocess.run([*cores, sys.executable, *words], cwd=corpus, capture_output=True, text=True, check=True)
                took[workers].append(float(run.stderr.rsplit(" rows in ", 1)[1].split()[0]))
        one, two = (statistics.median(times) for times in took.values())
        bytes_out = sum(file.stat().st_size for file in out.rglob("*.parquet")) / asked.copies
        print(f"{asked.copies} copies: one worker {one:.1f} s, two {two:.1f} s, {one / two:.2f} times as fast")
        print(f"a video of {len(frames)} frames: {pathlib.Path(asked.clip).stat().st_size / 1e6:.2f} MB in, {bytes_out / 1e3:.1f} kB out")


main()
