"""Many videos on a Ray cluster, or on all cores of this machine.

    >>> from lanet_live.ray import read_videos
    >>> rows = read_videos("corpus/**/*.mp4")              # a ray.data.Dataset
    >>> rows.filter(expr="expression == 'anger'").write_parquet("anger")

`python -m lanet_live.corpus` does the same from the command line, into files, and goes on where it was stopped. Both need
`pip install lanet-live[ray]`.
"""

import functools
import glob
import math
import os

import pyarrow
import ray

import lanet_live
from lanet_live import _native

#: How many seconds of a video are read at once, if nothing else is said.
PIECE = 600.0
#: What can be wrong with a video or a file.
FAILURES = (OSError, ValueError, RuntimeError)

_PIECE = pyarrow.field(
    "piece", pyarrow.int64(), metadata={"about": "the piece of the video, from 0; tracks keep their numbers within one"}
)
_ERROR = pyarrow.field("error", pyarrow.string(), metadata={"about": "why the rest of the piece could not be read"})


def read_videos(videos, piece=PIECE, raw=False, column="path", **settings):
    """The rows of many videos: a lazy `ray.data.Dataset` with the columns of `Video.to_arrow` and two more, `piece` and
    `error`. A video that cannot be read does not end the others: it has a row in which `error` says why.

    videos    a path or a pattern ("corpus/**/*.mp4"), a list of them, or a Dataset with paths in `column`; they must mean
              the same on every machine of the cluster
    piece     videos are read in pieces of about so many seconds, by several workers. Faces keep their numbers (`track`)
              within a piece, so that a face is known by source, piece and track
    raw       add the probabilities of each frame alone, before they are smoothed: raw_neutral and so on
    settings  those of `lanet_live.Analyser`

    Each worker has one core and one thread and loads the networks once. What a lost worker had in hand is read again.

    Raises ValueError or FileNotFoundError at once for settings that cannot be and patterns that match nothing.
    """
    check(piece, settings)
    if not isinstance(videos, ray.data.Dataset):
        paths = [os.path.abspath(path) for path in find(videos)]
        videos = ray.data.from_items([{column: path} for path in paths], override_num_blocks=min(len(paths), 256))
    jobs = videos.flat_map(lambda row: plan(str(row[column]), piece), num_cpus=0.25)
    read = functools.partial(_read, raw=raw, settings=settings)
    jobs = jobs.repartition(target_num_rows_per_block=1)
    return jobs.map_batches(read, batch_size=1, batch_format="pyarrow", num_cpus=1)


def check(piece, settings):
    """Refuses what cannot be asked for before anything is distributed, and gives the model's fingerprint."""
    if not (isinstance(piece, (int, float)) and piece >= 1):
        raise ValueError(f"piece is a number of seconds, 1 or more, not {piece!r}")
    return lanet_live.Analyser(**settings).fingerprint


def find(patterns):
    """The files that a pattern or a list of them names, each once."""
    found = {}
    for pattern in [patterns] if isinstance(patterns, (str, os.PathLike)) else patterns:
        pattern = os.fspath(pattern)
        files = [pattern] if os.path.exists(pattern) else sorted(glob.glob(pattern, recursive=True))
        files = [file for file in files if os.path.isfile(file)]
        if not files:
            raise FileNotFoundError(f"no file matches '{pattern}'; check the pattern, and put it in quotes")
        found.update(dict.fromkeys(files))
    if not found:
        raise ValueError("there are no videos to read; give paths or patterns such as 'corpus/**/*.mp4'")
    return list(found)


def plan(path, piece):
    """The pieces of a video. The last one has no end, and is no short rest. `error` says why none can be read, or nothing."""
    try:
        error, count = "", max(1, round((_native._seconds(path) or 0) / piece))
    except FAILURES as failure:
        error, count = str(failure), 1
    ends = [n * piece for n in range(1, count)] + [math.inf]
    return [
        {"path": path, "piece": n, "pieces": count, "start": n * piece, "end": end, "error": error}
        for n, end in enumerate(ends)
    ]


@functools.lru_cache(maxsize=2)
def _opened(settings):
    # One core a worker, so one thread; it is looked at once, when the networks are first used.
    os.environ.setdefault("RAYON_NUM_THREADS", "1")
    return lanet_live.Analyser(**dict(settings))


def opened(settings):
    """The analyser of these settings, loaded once in each worker."""
    return _opened(tuple(sorted(settings.items())))


def empty(raw, settings):
    """A table without rows that has the columns, `piece` among them."""
    table = pyarrow.Table.from_batches([pyarrow.record_batch(opened(settings)._empty(raw))])
    return table.append_column(_PIECE, pyarrow.nulls(0, pyarrow.int64()))


def tables(job, raw, settings):
    """The rows of a piece of a video, table by table."""
    end = None if math.isinf(job["end"]) else job["end"]
    batches = opened(settings).read_video(job["path"], job["start"], end)._batches(raw)
    next(batches)
    for batch in batches:
        table = pyarrow.Table.from_batches([batch])
        yield table.append_column(_PIECE, pyarrow.repeat(pyarrow.scalar(job["piece"], pyarrow.int64()), batch.num_rows))


def _read(table, raw, settings):
    (job,) = table.to_pylist()
    error = job["error"]
    try:
        if not error:
            for rows in tables(job, raw, settings):
                yield rows.append_column(_ERROR, pyarrow.nulls(rows.num_rows, pyarrow.string()))
    except FAILURES as failure:
        error = str(failure)
    if error:
        schema = empty(raw, settings).schema.append(_ERROR)
        row = {"source": job["path"], "piece": job["piece"], "error": error}
        yield pyarrow.Table.from_pylist([row], schema=schema)
