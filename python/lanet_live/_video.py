"""What is read in a video, frame by frame or as a table."""

import os


class Video:
    """What is read in a video file. Each use reads the file anew, and memory does not grow with its length except for
    the table that is asked for.

    Iterated, it gives a `Reading` for each frame. As a table it has a row for each face and frame, and one without a face
    for a frame without faces, with the columns of the program's CSV files. It is itself an Arrow table for every library that knows
    Arrow's PyCapsule interface: `pyarrow.table(video)`, `polars.DataFrame(video)`, `duckdb.from_arrow(video)`.
    """

    def __init__(self, analyser, path, start=0.0, end=None):
        self._analyser = analyser
        self.path = os.fspath(path)
        self.start = start
        self.end = end
        # What cannot be read is refused now, not when it is used.
        iter(self)

    def __iter__(self):
        return self._analyser._video(self.path, self.start, self.end)

    def __repr__(self):
        return f"Video({self.path!r})"

    def __arrow_c_stream__(self, requested_schema=None):
        return iter(self).__arrow_c_stream__(requested_schema)

    def _batches(self, raw):
        """The schema, then a batch for each thousand frames, as pyarrow has them, without a copy."""
        import pyarrow

        readings = iter(self)
        yield pyarrow.record_batch(self._analyser._empty(raw)).schema
        while (batch := readings._batch(raw)) is not None:
            yield pyarrow.record_batch(batch)

    def to_arrow(self, raw=False):
        """A `pyarrow.Table`. Units and meanings are in the metadata of its fields, the model's fingerprint and the
        version of this package in its own.

        raw  add the probabilities of each frame alone, before they are smoothed: raw_neutral and so on
        """
        import pyarrow

        schema, *batches = self._batches(raw)
        return pyarrow.Table.from_batches(batches, schema)

    def to_pandas(self, raw=False):
        """A `pandas.DataFrame`; `raw` as for `to_arrow`."""
        return self.to_arrow(raw).to_pandas()

    def to_parquet(self, path, raw=False, overwrite=False):
        """Writes a Parquet file, which appears under its name when it is whole; `raw` as for `to_arrow`. It is written as
        the video is read, in little memory, and needs no other package."""
        path = os.fspath(path)
        if not path.endswith(".parquet"):
            raise ValueError(f"'{path}' is not the name of a Parquet file; end it in .parquet")
        if os.path.exists(path) and not overwrite:
            raise FileExistsError(f"'{path}' exists already; choose another name, or say overwrite=True")
        iter(self)._write(path, raw, overwrite)
