"""Reads a corpus of videos on all cores of this machine or on a Ray cluster, into Parquet files.

    python -m lanet_live.corpus "corpus/**/*.mp4" --results out/ [--address auto] [--resume]

Each video has a folder below `out` under its own path, with a file for each piece: out/corpus/talk.mp4/piece-0000.parquet.
Beside them lie _settings.json, _manifest.jsonl (a line for each file, when it is whole) and _failures.csv; readers of Parquet
pass over names that begin with _. Needs `pip install lanet-live[ray]`.
"""

import argparse
import collections
import csv
import itertools
import json
import math
import os
import pathlib
import shutil
import socket
import sys
import time
import uuid
import warnings

import lanet_live

MANIFEST, SETTINGS, FAILED = "_manifest.jsonl", "_settings.json", "_failures.csv"


class Refused(Exception):
    """What cannot be done, in one line."""


def main(arguments=None):
    """Does what a command line asks for, and gives the exit code."""
    try:
        return run(options(arguments))
    except KeyboardInterrupt:
        print("stopped; --resume goes on from here", file=sys.stderr)
        return 130
    except ImportError as error:
        print(f"lanet_live.corpus: {error}; pip install 'lanet-live[ray]'", file=sys.stderr)
    except (Refused, OSError, ValueError, RuntimeError) as error:
        print(f"lanet_live.corpus: {' '.join(str(error).split())}", file=sys.stderr)
    return 1


def options(arguments):
    """What a command line asks for."""
    parser = argparse.ArgumentParser("python -m lanet_live.corpus", description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("videos", nargs="+", help="paths or patterns, such as 'corpus/**/*.mp4'")
    add("--results", required=True, type=pathlib.Path, metavar="DIR", help="a folder that every worker can write to")
    add("--address", help="of a Ray cluster: auto, or ray://HOST:PORT; without it Ray is started on this machine")
    add("--workers", type=int, metavar="N", help="how many pieces are read at once [default: one a core]")
    add("--piece", type=float, default=600.0, metavar="SECONDS", help="videos are read in pieces of about this length [600]")
    add("--resume", action="store_true", help="read only what an earlier run to the same folder has not read")
    add("--overwrite", action="store_true", help="take away what an earlier run has written")
    add("--raw", action="store_true", help="add the probabilities of each frame alone")
    add("--model", help="the name of a model, or its folder")
    add("--person", help="who is seen, see lanet-live --help")
    add("--prior", help="natural, balanced, a number from 0 to 1, or a file")
    add("--smoothing", type=float, default=0.0, metavar="SECONDS")
    add("--max-faces", type=int, default=16, metavar="N")
    return parser.parse_args(arguments)


def run(asked):
    """Reads the corpus; gives the exit code."""
    import ray

    from lanet_live.ray import check, find

    videos, places = find(asked.videos), {}
    for source in videos:
        if (other := places.setdefault(below(source), source)) != source:
            raise Refused(f"'{other}' and '{source}' would be written to one folder; name both by paths from one folder")
    settings = {name: getattr(asked, name) for name in ("model", "person", "prior", "smoothing", "max_faces")}
    # Workers have folders of their own.
    for name in ("model", "person"):
        if settings[name] and os.path.exists(settings[name]):
            settings[name] = os.path.abspath(settings[name])
    fingerprint = check(asked.piece, settings)
    said = {"version": lanet_live.__version__, "fingerprint": fingerprint, "piece": asked.piece, "raw": asked.raw, **settings}
    done = prepare(asked, said)
    if asked.workers is not None and asked.workers < 1:
        raise Refused("--workers is a number of pieces that are read at once, 1 or more")
    connect(ray, asked)
    try:
        return Corpus(ray, asked, settings, done).read(videos)
    finally:
        ray.shutdown()


def connect(ray, asked):
    """Starts Ray, or finds the cluster."""
    quiet = {"log_to_driver": False, "logging_level": "error"}
    if asked.address is None:
        ray.init(include_dashboard=False, num_cpus=asked.workers, **quiet)
        return
    try:
        # Ray itself would wait for minutes, and say so every few seconds.
        if asked.address not in ("auto", "local"):
            host, _, port = asked.address.removeprefix("ray://").rpartition(":")
            socket.create_connection((host, int(port)), timeout=5).close()
        ray.init(address=asked.address, **quiet)
    except (OSError, RuntimeError, ValueError) as error:
        why = str(error).strip().split("\n")[0]
        raise Refused(f"there is no Ray cluster at '{asked.address}': {why}; start one with ray start --head") from None


def prepare(asked, said):
    """The folder, and what is done in it already: {(source, piece): line of the manifest}."""
    settings, manifest = asked.results / SETTINGS, asked.results / MANIFEST
    done = {}
    if asked.results.exists() and not asked.results.is_dir():
        raise Refused(f"'{asked.results}' is a file; name a folder")
    if settings.exists() and asked.overwrite:
        for line in lines(manifest):
            shutil.rmtree((asked.results / line["file"]).parent, ignore_errors=True)
        manifest.unlink(missing_ok=True)
        settings.unlink()
    if settings.exists():
        there = json.loads(settings.read_text())
        for name, value in said.items():
            if there.get(name) != value:
                raise Refused(
                    f"'{asked.results}' has results of another run: {name} was {there.get(name)} and is {value}; "
                    "choose another folder, or say --overwrite"
                )
        if not asked.resume:
            raise Refused(f"'{asked.results}' has results already; go on with --resume, or say --overwrite")
        done = {(line["source"], line["piece"]): line for line in lines(manifest)}
        for left in asked.results.glob("**/.piece-*.part-*"):
            left.unlink(missing_ok=True)
    asked.results.mkdir(parents=True, exist_ok=True)
    settings.write_text(json.dumps(said, indent=2) + "\n")
    return done


def lines(manifest):
    """The whole lines of a manifest; one that a killed run has torn does not count."""
    for text in manifest.read_text().splitlines() if manifest.exists() else []:
        try:
            yield json.loads(text)
        except ValueError:
            pass


def below(source):
    """Where a video's files are: under its own path, without what leads out of the folder."""
    path = pathlib.PurePath(source)
    return pathlib.PurePath(*(part for part in path.parts if part not in (path.anchor, "..")))


def plan_all(videos, piece, root):
    """What is to be read of some videos. Runs on a worker."""
    from lanet_live.ray import plan

    jobs = []
    for source in videos:
        for job in plan(os.path.join(root, source), piece):
            file = below(source) / f"piece-{job['piece']:04}.parquet"
            jobs.append({**job, "source": source, "file": str(file)})
    return jobs


def read_piece(job, results, raw, settings):
    """Reads a piece into its file, unless it is there; gives its line of the manifest. Runs on a worker, perhaps twice: the
    file is whole when it has its name, and the same whoever has written it."""
    import pyarrow
    import pyarrow.parquet

    from lanet_live.ray import FAILURES, empty, tables

    began, said = time.time(), []
    target = pathlib.Path(results) / job["file"]
    if not target.exists():
        part = target.with_name(f".{target.name}.part-{uuid.uuid4().hex[:8]}")
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("ignore")
                warnings.simplefilter("always", UserWarning)
                found = tables(job, raw, settings)
                # A video that cannot be read leaves not even a folder behind.
                first = next(found, None)
                if first is None and job["piece"] == 0:
                    raise ValueError("there was not one frame to read")
                first = empty(raw, settings) if first is None else first
                try:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with pyarrow.parquet.ParquetWriter(part, first.schema) as writer:
                        for table in itertools.chain([first], found):
                            names = pyarrow.array([job["source"]] * table.num_rows, pyarrow.string())
                            writer.write_table(table.set_column(0, table.schema.field(0), names))
                    os.replace(part, target)
                except OSError as error:
                    return {**job, "fatal": f"cannot write '{target}': {error}; check that the disk is not full"}
            said = [str(warning.message) for warning in caught]
        except FAILURES as error:
            return {**job, "error": str(error)}
        finally:
            part.unlink(missing_ok=True)
    rows = pyarrow.parquet.read_metadata(target).num_rows
    keys = ("source", "piece", "pieces", "start", "file")
    end = None if math.isinf(job["end"]) else job["end"]
    return {**{key: job[key] for key in keys}, "end": end, "rows": rows, "seconds": round(time.time() - began, 3), "warnings": said}


class Corpus:
    """A run over a corpus."""

    def __init__(self, ray, asked, settings, done):
        self.ray, self.asked, self.settings, self.done = ray, asked, settings, done
        self.results = str(asked.results.absolute())
        self.failures = []
        self.said = 0.0

    def each(self, work, jobs, *common):
        """What `work` makes of each job, as it comes, with the job; an exception if its worker was lost too often."""
        ray = self.ray
        task = ray.remote(num_cpus=1, max_retries=3)(work)
        common = [ray.put(value) for value in common]
        most = self.asked.workers or 0
        jobs, pending = iter(jobs), {}
        while True:
            # Twice as many as there are cores, so that none waits for this loop.
            room = most or 2 * int(ray.cluster_resources().get("CPU", 1))
            for job in itertools.islice(jobs, max(0, room - len(pending))):
                pending[task.remote(job, *common)] = job
            if not pending:
                return
            ready, _ = ray.wait(list(pending), timeout=1.0)
            for one in ready:
                job = pending.pop(one)
                try:
                    yield job, ray.get(one)
                except ray.exceptions.RayError as error:
                    yield job, error

    def read(self, videos):
        """Reads all that is not done; gives the exit code."""
        began, rows, count = time.time(), 0, 0
        jobs = self.plan(videos)
        with open(self.asked.results / MANIFEST, "a", encoding="utf-8") as manifest:
            manifest.write("\n" if manifest.tell() else "")
            for job, line in self.each(read_piece, jobs, self.results, self.asked.raw, self.settings):
                if isinstance(line, Exception):
                    line = {**job, "error": lost(line)}
                if "fatal" in line:
                    raise Refused(line["fatal"])
                if "error" in line:
                    self.failures.append(line)
                else:
                    manifest.write(json.dumps(line) + "\n")
                    manifest.flush()
                    rows, count = rows + line["rows"], count + 1
                    for warning in line["warnings"]:
                        print(f"warning: {warning}", file=sys.stderr)
                self.progress(f"{count} of {len(jobs)} pieces, {rows} rows, {len(self.failures)} failed")
        before = f"; {len(self.done)} were done before" if self.done else ""
        print(f"read {count} of {len(jobs)} pieces, {rows} rows in {time.time() - began:.1f} s{before}", file=sys.stderr)
        return self.tell_failures()

    def plan(self, videos):
        """The pieces that are to be read; videos that cannot be are failures."""
        count = collections.Counter(source for source, _ in self.done)
        whole = {source for (source, _), line in self.done.items() if count[source] == line["pieces"]}
        videos = [source for source in videos if source not in whole]
        chunks = [videos[n : n + 32] for n in range(0, len(videos), 32)]
        jobs = []
        for chunk, planned in self.each(plan_all, chunks, self.asked.piece, os.getcwd()):
            if isinstance(planned, Exception):
                planned = [{"source": source, "piece": 0, "start": 0.0, "error": lost(planned)} for source in chunk]
            for job in planned:
                if job["error"]:
                    self.failures.append(job)
                elif (job["source"], job["piece"]) not in self.done:
                    jobs.append(job)
            self.progress(f"{len(jobs)} pieces found")
        return sorted(jobs, key=lambda job: (job["source"], job["piece"]))

    def progress(self, text):
        """Says how far it is: on a terminal in place, elsewhere twice a minute."""
        if sys.stderr.isatty():
            print(f"\r\x1b[K{text}", end="\r", file=sys.stderr, flush=True)
        elif time.time() - self.said > 30:
            print(text, file=sys.stderr, flush=True)
            self.said = time.time()

    def tell_failures(self):
        """Writes the table of failures and says it; gives the exit code."""
        table = self.asked.results / FAILED
        self.failures.sort(key=lambda job: (job["source"], job["piece"]))
        with open(table, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["source", "piece", "start", "error"])
            for job in self.failures:
                writer.writerow([job["source"], job["piece"], job["start"], job["error"]])
                print(f"failed: {job['source']} (piece {job['piece']})  {job['error']}", file=sys.stderr)
        if self.failures:
            print(f"lanet_live.corpus: {len(self.failures)} failed, see {table}; --resume tries them again", file=sys.stderr)
        return 1 if self.failures else 0


def lost(error):
    """Why a job came to nothing although it was tried again."""
    if cause := getattr(error, "cause", None):
        return f"{type(cause).__name__}: {cause}; this is a fault of the program"
    return "its worker was lost again and again: " + str(error).strip().split("\n")[0]


if __name__ == "__main__":
    # By its own name, which workers know.
    from lanet_live.corpus import main

    sys.exit(main())
