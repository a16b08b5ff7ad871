"""Writes target/golden/NAME.safetensors: pictures of real faces and what LiteRT's networks say about them.

The pictures are those that scripts/media.py unpacks, which are not ours to pass on.

    scripts/python.sh scripts/make_golden.py [--downloads target/downloads] [--out target/golden] [--media target/media]
"""

import argparse
import contextlib
import os
import sys
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image, ImageOps
from safetensors.numpy import save_file

from media import media
from mediapipe_files import network

PICTURES = ["single_face.jpg", "multi_face.jpg", "0-f1-su-ph.jpg", "15-f13-anc-ph.jpg", "BWPictureHuman.jpg"]


@contextlib.contextmanager
def quiet():
    """Keeps what native code has to say away from standard error."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


class Net:
    """A network run by LiteRT."""

    def __init__(self, data):
        with quiet():
            self.interpreter = Interpreter(model_content=data, num_threads=2)
            self.interpreter.allocate_tensors()
        (self.input,) = self.interpreter.get_input_details()
        self.size = int(self.input["shape"][1])

    def __call__(self, tensor):
        """(size, size, 3) to the outputs, the one with most numbers first."""
        self.interpreter.set_tensor(self.input["index"], tensor[None].astype(np.float32))
        self.interpreter.invoke()
        outputs = [self.interpreter.get_tensor(o["index"])[0] for o in self.interpreter.get_output_details()]
        return sorted(outputs, key=lambda output: -output.size)


def centred(pixels):
    return pixels.astype(np.float32) / 127.5 - 1


def best_face(net, picture):
    """The square around the surest face of a square picture, grown by a half."""
    boxes, scores = net(centred(np.asarray(picture.resize((net.size, net.size), Image.BILINEAR))))
    anchor = int(scores.argmax())
    row, column = divmod(anchor, net.size // 4)
    x, y, width, height = boxes[anchor][:4] / net.size * picture.width
    x, y = x + (column + 0.5) * 4 / net.size * picture.width, y + (row + 0.5) * 4 / net.size * picture.width
    half = 0.75 * max(width, height)
    return tuple(round(float(v)) for v in (x - half, y - half, x + half, y + half))


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--downloads", type=Path, default=Path("target/downloads"))
    arguments.add_argument("--out", type=Path, default=Path("target/golden"))
    arguments.add_argument("--media", type=Path, default=Path("target/media"))
    arguments = arguments.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    arguments.downloads.mkdir(parents=True, exist_ok=True)
    folder = media(arguments.media, arguments.downloads)
    squares = []
    for name in PICTURES:
        picture = ImageOps.exif_transpose(Image.open(folder / name)).convert("RGB")
        squares.append(ImageOps.pad(picture, (max(picture.size),) * 2))
    full = Net(network("blazeface-full", arguments.downloads))
    crops = [square.crop(best_face(full, square)) for square in squares]
    for name, pictures, scale in [
        ("blazeface-full", squares, centred),
        ("blazeface-short", crops, centred),
        ("facemesh", crops, lambda pixels: pixels / np.float32(255)),
    ]:
        net = Net(network(name, arguments.downloads))
        inputs = [np.asarray(picture.resize((net.size, net.size), Image.BILINEAR)) for picture in pictures]
        outputs = [net(scale(pixels)) for pixels in inputs]
        tensors = {"pictures": np.stack(inputs)}
        for number, key in enumerate(["points", "flags"] if name == "facemesh" else ["boxes", "scores"]):
            tensors[key] = np.stack([output[number].reshape(-1) for output in outputs]).astype(np.float32)
        save_file(tensors, arguments.out / f"{name}.safetensors")


if __name__ == "__main__":
    main()
