"""Paints tests/golden/painted.png, a face that nobody has, and writes what LiteRT's networks say about it beside it.

So the nets are tested without any download. painted.json holds, for each output, its length, its largest absolute
value and the first of its values at equal distances.

    scripts/python.sh scripts/paint_face.py [--downloads target/downloads] [--out tests/golden]
"""

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from make_golden import Net, centred
from mediapipe_files import network

SIZE = 192
SAMPLES = 24


def painted():
    """A face of SIZE x SIZE pixels, seen from the front and lit from the left."""
    big = 4 * SIZE
    image = Image.new("RGB", (big, big), (96, 120, 132))
    draw = ImageDraw.Draw(image)

    def oval(x, y, rx, ry, colour):
        scale = big / 100
        draw.ellipse([(x - rx) * scale, (y - ry) * scale, (x + rx) * scale, (y + ry) * scale], fill=colour)

    def line(points, width, colour):
        scale = big / 100
        draw.line([(x * scale, y * scale) for x, y in points], colour, round(width * scale), joint="curve")

    def soften(radius):
        nonlocal image, draw
        image = image.filter(ImageFilter.GaussianBlur(radius * big / 100))
        draw = ImageDraw.Draw(image)

    hair, skin, shade, lip = (52, 36, 28), (222, 178, 150), (186, 138, 112), (176, 84, 82)
    oval(50, 100, 34, 18, (60, 70, 110))  # shoulders
    oval(50, 46, 29, 36, hair)
    oval(50, 82, 11, 14, shade)  # neck
    oval(26.5, 53, 3.5, 7, shade)
    oval(73.5, 53, 3.5, 7, shade)
    oval(50, 52, 24, 31, skin)
    oval(50, 26, 22, 7, hair)
    soften(0.8)
    for x in (39.5, 60.5):
        oval(x, 48.5, 6.5, 4, shade)
    oval(35, 62, 7, 6, (228, 164, 142))
    oval(65, 62, 7, 6, (222, 156, 134))
    soften(1.6)
    line([(50.5, 47), (52.5, 58), (54, 61)], 1.6, shade)
    oval(50, 62, 5.2, 2.6, (206, 156, 130))
    soften(0.9)
    for x in (47, 53):
        oval(x, 63.4, 1.3, 0.8, (110, 66, 54))
    for x, side in ((39.5, -1), (60.5, 1)):
        line([(x - 6, 42.5 + 0.6 * side), (x, 40.6), (x + 6, 42.5 - 0.6 * side)], 1.8, hair)
        oval(x, 48.5, 4.6, 2.3, (246, 242, 238))
        oval(x, 48.5, 2.2, 2.2, (84, 62, 44))
        oval(x, 48.5, 1.1, 1.1, (12, 10, 10))
        oval(x + 0.7, 47.8, 0.4, 0.4, (255, 255, 255))
        line([(x - 4.8, 48.8), (x - 2, 46.4), (x + 2, 46.4), (x + 4.8, 48.8)], 0.7, (40, 26, 22))
    line([(42, 71), (46, 70), (50, 70.8), (54, 70), (58, 71)], 1.8, lip)
    line([(42.5, 71.6), (50, 74.4), (57.5, 71.6)], 2.2, lip)
    line([(42, 71.2), (50, 72), (58, 71.2)], 0.6, (90, 34, 36))
    soften(0.35)
    light = np.linspace(1.08, 0.86, big)[None, :, None]
    image = Image.fromarray(np.clip(np.asarray(image) * light, 0, 255).astype(np.uint8))
    return image.resize((SIZE, SIZE), Image.BOX)


def samples(values):
    values = values.reshape(-1)
    step = max(1, len(values) // SAMPLES)
    return {
        "length": len(values),
        "largest": float(np.abs(values).max()),
        "step": step,
        "samples": [float(v) for v in values[::step][:SAMPLES]],
    }


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--downloads", type=Path, default=Path("target/downloads"))
    arguments.add_argument("--out", type=Path, default=Path("tests/golden"))
    arguments = arguments.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    painted().save(arguments.out / "painted.png", optimize=True)
    picture = np.asarray(Image.open(arguments.out / "painted.png"))
    # The nets see the face alone, as it lies in the middle of the picture: no scaling that others do differently.
    found = {"origin": "scripts/paint_face.py with ai-edge-litert 2.3.0"}
    for name, keys in [
        ("blazeface-full", ("boxes", "scores")),
        ("blazeface-short", ("boxes", "scores")),
        ("facemesh", ("points", "flags")),
    ]:
        net = Net(network(name, arguments.downloads))
        start = (SIZE - net.size) // 2
        pixels = picture[start : start + net.size, start : start + net.size]
        outputs = net(pixels / np.float32(255) if name == "facemesh" else centred(pixels))
        found[name] = {key: samples(output) for key, output in zip(keys, outputs, strict=True)}
    (arguments.out / "painted.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
