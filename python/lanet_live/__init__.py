"""Facial expressions from pictures and videos, computed on this machine.

    >>> import lanet_live
    >>> analyser = lanet_live.Analyser()
    >>> for face in analyser.read(picture):           # numpy (height, width, 3) uint8, RGB
    ...     print(face.expression, face.confidence, face.box)
    >>> lanet_live.read_video("talk.mp4").to_pandas()  # a row for each face and frame

The program sees what a face shows. It does not know what a person feels, thinks or intends.
"""

import os as _os

# Candle's own threads would spin beside ours; it looks once.
_os.environ.setdefault("CANDLE_NUM_THREADS", "1")

from lanet_live._native import Analyser as _Analyser, Face, Reading, Readings, __version__
from lanet_live._program import evaluate, overlay, train
from lanet_live._video import Video

__all__ = [
    "Analyser",
    "Face",
    "Reading",
    "Readings",
    "Video",
    "evaluate",
    "overlay",
    "read_video",
    "train",
    "__version__",
]


class Analyser(_Analyser):
    """Finds faces and tells what they express.

    model      the name of a model in the package or the folder of another; None: the usual one
    device     "auto", "cpu", "cuda:N" or "metal:N"
    max_faces  read at most this many faces of a frame, 1 to 256
    smoothing  time constant, in seconds, with which the probabilities of each face in a stream or video are smoothed;
               0: not at all
    prior      how frequent expressions are in front of the camera: "natural" (as in the data that the model learnt
               from), "balanced", a number from "0" (balanced) to "1" (natural), or a TOML file of shares; None: as the
               model's card says
    person     who is seen, as `lanet-live calibrate --person NAME --neutral` keeps them: NAME, in the folder "calibration",
               or the path of their own folder. Their model and their neutral are used; the largest face is theirs

    One analyser may be used by several threads at once; what they read has nothing to do with each other. After a fork
    it is refused.

    Raises ValueError, FileNotFoundError or RuntimeError with one line that says what is wrong and what to do.
    """

    __slots__ = ()

    def read(self, image, order="rgb"):
        """The faces of one picture: a list of `Face`, numbered from 1; nothing is smoothed.

        image  numpy array (height, width, 3) of uint8, contiguous or not
        order  "rgb", or "bgr" as OpenCV has it
        """
        return super().read(image, order)

    def stream(self, frames, fps=25.0, order="rgb"):
        """An iterator of a `Reading` for each frame; faces keep their numbers from frame to frame.

        frames  any iterable of arrays as for `read`; up to three are taken ahead
        fps     frames a second, which gives the frames their times
        """
        return super().stream(frames, fps, order)

    def read_video(self, path, start=0.0, end=None):
        """What is read in a video file: see `Video`.

        start, end  only this part of it, in seconds; frame numbers and times stay the video's own
        """
        return Video(self, path, start, end)


def read_video(path, start=0.0, end=None, **settings):
    """What is read in a video file, by an `Analyser` of these settings: see `Video`."""
    return Analyser(**settings).read_video(path, start, end)
