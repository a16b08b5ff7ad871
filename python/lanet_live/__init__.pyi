import os
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas
import pyarrow

__version__: str

_Path = str | os.PathLike[str]
_Image = npt.NDArray[np.uint8]
_Order = Literal["rgb", "bgr"]

class Face:
    """A face and what it expresses. Coordinates are pixels of the picture, origin top left."""

    @property
    def track(self) -> int:
        """The number that the face keeps from frame to frame, from 1."""
    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, width, height."""
    @property
    def score(self) -> float:
        """How sure it is that this is a face, 0 to 1."""
    @property
    def pose(self) -> tuple[float, float, float]:
        """Yaw, pitch, roll in degrees: to the subject's left, up, and clockwise as seen are positive."""
    @property
    def expression(self) -> str:
        """The most probable expression."""
    @property
    def confidence(self) -> float:
        """Its probability."""
    @property
    def probabilities(self) -> dict[str, float]:
        """Of all eight expressions, smoothed if that was asked for."""
    @property
    def raw_probabilities(self) -> dict[str, float]:
        """Of all eight expressions, in this frame alone."""
    @property
    def unsure(self) -> bool:
        """Whether the face is too small, too turned or too little expressive to be relied on."""
    @property
    def landmarks(self) -> npt.NDArray[np.float32]:
        """(468, 3): x, y and depth of MediaPipe's face mesh; smaller depths are nearer to the camera."""
    def to_dict(self) -> dict[str, Any]:
        """As a line of the program's results."""

class Reading:
    """A frame and its faces."""

    @property
    def source(self) -> str: ...
    @property
    def frame(self) -> int:
        """The frame's number in its source, from 0."""
    @property
    def time(self) -> float:
        """The frame's time in its source, in seconds."""
    @property
    def faces(self) -> list[Face]: ...
    def __len__(self) -> int:
        """How many faces."""

class Readings(Iterator[Reading]):
    def __iter__(self) -> Readings: ...
    def __next__(self) -> Reading: ...
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...

class Video(Iterable[Reading]):
    path: str
    start: float
    end: float | None
    def __iter__(self) -> Readings: ...
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...
    def to_arrow(self, raw: bool = False) -> pyarrow.Table: ...
    def to_pandas(self, raw: bool = False) -> pandas.DataFrame: ...
    def to_parquet(self, path: _Path, raw: bool = False, overwrite: bool = False) -> None: ...

class Analyser:
    def __init__(
        self,
        model: _Path | None = None,
        device: str = "auto",
        max_faces: int = 16,
        smoothing: float = 0.0,
        prior: str | None = None,
        person: _Path | None = None,
    ) -> None: ...
    @property
    def fingerprint(self) -> str: ...
    def read(self, image: _Image, order: _Order = "rgb") -> list[Face]: ...
    def stream(self, frames: Iterable[_Image], fps: float = 25.0, order: _Order = "rgb") -> Readings: ...
    def read_video(self, path: _Path, start: float = 0.0, end: float | None = None) -> Video: ...

def read_video(path: _Path, start: float = 0.0, end: float | None = None, **settings: Any) -> Video: ...
def overlay(path: _Path, out: _Path, overwrite: bool = False, blur: bool = False, **options: Any) -> None: ...
def evaluate(data: _Path, **options: Any) -> dict[str, Any]: ...
def train(data: _Path, output: _Path, **options: Any) -> list[dict[str, Any]]: ...
