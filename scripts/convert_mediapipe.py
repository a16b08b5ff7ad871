"""Writes models/blazeface-full, models/blazeface-short and models/facemesh from the files that MediaPipe publishes.

The order of the operations in the published graph is the order of the names below. Weights stay in the published
precision (f16) and become (out, in, height, width); a depthwise convolution's become (channels, 1, height, width).

    scripts/python.sh scripts/convert_mediapipe.py [--downloads target/downloads] [--models models]
"""

import argparse
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from safetensors.numpy import save

from mediapipe_files import SOURCES, network

LICENCE = Path("/usr/share/common-licenses/Apache-2.0")


def block(name, steps=1):
    """A block's convolutions; with one step it has no number."""
    return [f"{name}.{step}.{kind}" for step in range(steps) for kind in ("depthwise", "pointwise")]


def blocks(name, count, steps=1):
    return [conv for number in range(count) for conv in block(f"{name}.{number}", steps)]


def pyramid(level, count):
    name = f"pyramid.{level}"
    return [f"{name}.above", f"{name}.beside", *blocks(f"{name}.blocks", count, 2)]


def twins(first, second):
    """Two branches whose operations alternate in the graph."""
    return [name for pair in zip(first, second, strict=True) for name in pair]


NAMES = {
    "blazeface-full": [
        "stem",
        *blocks("blocks", 15, 2),
        *pyramid(0, 2),
        *pyramid(1, 2),
        *pyramid(2, 1),
        "scores.0",
        "boxes.0",
    ],
    "blazeface-short": ["stem", *blocks("blocks", 16), "scores.0", "scores.1", "boxes.0", "boxes.1"],
    "facemesh": [
        "stem",
        *blocks("blocks", 14),
        *blocks("mesh.blocks", 2),
        *twins(block("flag.blocks.0"), block("mesh.blocks.2")),
        "flag.narrow",
        "mesh.narrow",
        *twins(block("flag.last"), block("mesh.last")),
        "flag.out",
        "mesh.out",
    ],
}

CARDS = {
    "blazeface-full": (
        "blazeface-full",
        "Finds faces up to about five metres away, with six points each (BlazeFace, full range).",
        (192, 127.5, 127.5),
    ),
    "blazeface-short": (
        "blazeface-short",
        "Finds faces up to about two metres away, with six points each (BlazeFace, short range).",
        (128, 127.5, 127.5),
    ),
    "facemesh": (
        "facemesh",
        "468 landmarks of a face in three dimensions, and whether it is one (Face Mesh, without attention).",
        (192, 0.0, 255.0),
    ),
}

PAPERS = {
    "blazeface-full": "Bazarevsky et al. 2019, arXiv:1907.05047",
    "blazeface-short": "Bazarevsky et al. 2019, arXiv:1907.05047",
    "facemesh": "Kartynnik et al. 2019, arXiv:1907.06724",
}


class Graph:
    """The operations of a .tflite file, and its constants by the tensor that they end in."""

    def __init__(self, data):
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
        (graph,) = model.subgraphs
        kinds = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
        codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
        self.constants = {}
        self.operations = []
        dtypes = {schema.TensorType.FLOAT16: np.float16, schema.TensorType.FLOAT32: np.float32}
        for index, tensor in enumerate(graph.tensors):
            bytes_ = model.buffers[tensor.buffer].data
            if bytes_ is not None and tensor.type in dtypes:
                assert tensor.sparsity is None, "the dense files are expected"
                self.constants[index] = np.frombuffer(bytes(bytes_), dtypes[tensor.type]).reshape(tensor.shape)
        for operator in graph.operators:
            kind = kinds[codes[operator.opcodeIndex]]
            inputs, (output,) = [int(i) for i in operator.inputs], [int(o) for o in operator.outputs]
            if kind == "DEQUANTIZE":
                self.constants[output] = self.constants[inputs[0]]
            else:
                self.operations.append((kind, inputs, output))

    def slope(self, tensor):
        """The slopes of the PReLU that `tensor` goes to, at once or after an addition."""
        for kind, inputs, output in self.operations:
            if kind == "PRELU" and inputs[0] == tensor:
                return self.constants[inputs[1]].reshape(-1)
            if kind == "ADD" and tensor in inputs and not self.read_by_convolution(tensor):
                return self.slope(output)
        return None

    def read_by_convolution(self, tensor):
        return any(kind.endswith("CONV_2D") and inputs[0] == tensor for kind, inputs, _ in self.operations)


def tensors(graph, names):
    """Weights, biases and slopes by name."""
    convolutions = [operation for operation in graph.operations if operation[0].endswith("CONV_2D")]
    found = {}
    for name, (kind, (_, weight, bias), output) in zip(names, convolutions, strict=True):
        depthwise = kind == "DEPTHWISE_CONV_2D"
        assert depthwise == name.endswith("depthwise"), f"{name} is a {kind}"
        axes = (3, 0, 1, 2) if depthwise else (0, 3, 1, 2)
        found[f"{name}.weight"] = graph.constants[weight].transpose(axes)
        found[f"{name}.bias"] = graph.constants[bias]
        slope = graph.slope(output)
        if slope is not None:
            found[f"{name}.slope"] = slope
    return {name: np.ascontiguousarray(value, np.float16) for name, value in sorted(found.items())}


def card(name, fingerprint):
    kind, description, (size, mean, std) = CARDS[name]
    origin = f"{SOURCES[name]}; {PAPERS[name]}"
    return f"""\
name = {json.dumps(name)}
network = {json.dumps(kind)}
description = {json.dumps(description)}
origin = {json.dumps(origin)}
licence = "Apache-2.0"
fingerprint = "{fingerprint}"

[input]
width = {size}
height = {size}
channels = "rgb"
mean = [{mean}, {mean}, {mean}]
std = [{std}, {std}, {std}]
"""


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--downloads", type=Path, default=Path("target/downloads"))
    arguments.add_argument("--models", type=Path, default=Path("models"))
    arguments = arguments.parse_args()
    for name, names in NAMES.items():
        data = save(tensors(Graph(network(name, arguments.downloads)), names))
        folder = arguments.models / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "weights.safetensors").write_bytes(data)
        (folder / "card.toml").write_text(card(name, hashlib.sha256(data).hexdigest()))
        shutil.copyfile(LICENCE, folder / "LICENSE")


if __name__ == "__main__":
    main()
