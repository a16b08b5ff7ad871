"""Our networks beside other engines, taking turns on the same machine; see docs/performance.md.

Usage: scripts/bench.sh [--runs N] [--train-runs N] [--only WORD]
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file

import mediapipe_files

ONNX_TURNS = [(net, size, batch) for net in ("mobilenet-v1", "resnet-18") for size in (112, 224) for batch in (1, 8)]
LITERT_TURNS = [("blazeface-full", 192), ("facemesh", 192)]
TRAINING_THREADS = 2
# A whole video, frame by frame: the program against MediaPipe's Face Mesh solution, which reads no expressions.
CLIP = Path("target/media/WolfgangLanger_Pexels.mp4")
CLIP_RUNS = 5
PROGRAM = "target/release/lanet-live"
WARM_UP = 3
# Ours against theirs, as a share of the largest output: Winograd's form rounds more.
TOLERANCE = 1e-3


class Ours:
    """The program made from benches/nets.rs; it answers each question with milliseconds."""

    def __init__(self, program, threads, plain=False):
        # Candle's own pools take their sizes from the environment. The one for sums of tensors spins; beside our
        # threads it shall have none, but Candle alone gets it.
        sized = dict(os.environ, RAYON_NUM_THREADS=str(threads), CANDLE_NUM_THREADS=str(threads if plain else 1))
        self.process = subprocess.Popen(
            [program, "serve", str(threads)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=sized)

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def timer(self, line):
        return lambda: float(self.ask(line))

    def output(self, line, folder, x):
        """What comes out for `x`, (batch, 3, height, width)."""
        x.tofile(folder / "check.in")
        if self.ask(f"check {line} {folder / 'check'}") != "ok":
            raise SystemExit(f"no answer for {line}")
        return np.fromfile(folder / "check.out", np.float32)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def onnx_of(folder, name):
    """The exported net as ONNX: a node for each convolution, residual sum and activation."""
    steps = json.loads((folder / f"{name}.json").read_text())
    weights = load_file(folder / f"{name}.safetensors")
    nodes, constants = [], []
    for name_of, value in (("zero", 0), ("six", 6)):
        if any(step.get("act") == "relu6" for step in steps):
            constants.append(numpy_helper.from_array(np.array(value, np.float32), name_of))

    def source(n):
        return "x" if n is None or n < 0 else f"y{n}"

    def add(kind, inputs, output, **how):
        nodes.append(helper.make_node(kind, inputs, [output], **how))

    for n, step in enumerate(steps):
        x, y = source(step["from"]), f"y{n}"
        if step["op"] == "mean":
            add("GlobalAveragePool", [x], f"{y}p")
            add("Flatten", [f"{y}p"], y)
            continue
        if step["op"] == "max_pool":
            add("MaxPool", [x], y, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
            continue
        layer = step["name"]
        weight = weights[f"{layer}.weight"]
        constants += [numpy_helper.from_array(weights[f"{layer}.{part}"], f"{layer}.{part}") for part in ("weight", "bias")]
        same = step["padding"] == "same"
        where = {"auto_pad": "SAME_UPPER"} if same else {"pads": [step["padding"]] * 4}
        group = weight.shape[0] if step["depthwise"] else 1
        # The names from the convolution to the last of what follows it.
        parts = ["c"] + ["r"] * (step.get("residual") is not None) + ["a"] * (step["act"] != "none")
        names = [f"{y}{part}" for part in parts[:-1]] + [y]
        add("Conv", [x, f"{layer}.weight", f"{layer}.bias"], names[0], kernel_shape=list(weight.shape[2:]),
            strides=[step["stride"]] * 2, group=group, **where)
        if step.get("residual") is not None:
            add("Add", [names[0], source(step["residual"])], names[1])
        if step["act"] == "relu":
            add("Relu", [names[-2]], y)
        elif step["act"] == "relu6":
            add("Clip", [names[-2], "zero", "six"], y)
    pictures = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["b", 3, "h", "w"])
    features = helper.make_tensor_value_info(f"y{len(steps) - 1}", TensorProto.FLOAT, ["b", "c"])
    graph = helper.make_graph(nodes, name, [pictures], [features], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def onnx_session(model, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def timed(work):
    def timer():
        start = time.perf_counter()
        work()
        return (time.perf_counter() - start) * 1e3
    return timer


def tensorflow_step(folder, name, size, batch, threads):
    """One training step of the exported net in TensorFlow, as a graph."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    layers = tf.keras.layers
    weights = load_file(folder / f"{name}.safetensors")
    x = first = layers.Input((size, size, 3))
    for step in json.loads((folder / f"{name}.json").read_text()):
        if step["op"] == "mean":
            x = layers.GlobalAveragePooling2D()(x)
            continue
        out, _, kernel, _ = weights[step["name"] + ".weight"].shape
        how = {"strides": step["stride"], "padding": "same", "use_bias": False}
        layer = layers.DepthwiseConv2D(kernel, **how) if step["depthwise"] else layers.Conv2D(out, kernel, **how)
        x = layers.ReLU(6.0)(layers.BatchNormalization(epsilon=1e-5)(layer(x)))
    net = tf.keras.Model(first, layers.Dense(8, use_bias=False)(x))
    optimiser = tf.keras.optimizers.AdamW(1e-3)
    criterion = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    pictures = tf.random.uniform((batch, size, size, 3), -1, 1, seed=1)
    labels = tf.range(batch) % 8

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = criterion(labels, net(pictures, training=True))
        gradients = tape.gradient(loss, net.trainable_variables)
        optimiser.apply_gradients(zip(gradients, net.trainable_variables))
        return loss

    return timed(lambda: step().numpy()), f"tensorflow-cpu {tf.__version__}"


class Table:
    def __init__(self):
        self.rows = []
        print(f"{'net':15}{'size':>5}{'batch':>6}{'threads':>8}  {'pass':8}{'ours ms':>10}{'peer ms':>10}{'ratio':>7}  peer")

    def add(self, net, size, batch, threads, what, ours, peer, theirs, runs, warm_up=WARM_UP):
        """Takes turns, and notes the medians."""
        a, b = [], []
        for _ in range(warm_up + runs):
            a.append(ours())
            b.append(theirs())
        a, b = statistics.median(a[-runs:]), statistics.median(b[-runs:])
        self.rows.append({
            "net": net, "size": size, "batch": batch, "threads": threads, "pass": what, "ours_ms": round(a, 3),
            "peer": peer, "peer_ms": round(b, 3), "ratio": round(a / b, 3)})
        print(f"{net:15}{size:5}{batch:6}{threads:8}  {what:8}{a:10.2f}{b:10.2f}{a / b:7.2f}  {peer}", flush=True)


def forward_passes(table, args, folder, threads):
    ours = Ours(args.program, threads)
    pictures = np.random.default_rng(1)
    sessions = {}
    for net, size, batch in ONNX_TURNS:
        if args.only not in net:
            continue
        if net not in sessions:
            sessions[net] = onnx_session(onnx_of(folder, net), threads)
        session = sessions[net]
        x = pictures.uniform(-1, 1, (batch, 3, size, size)).astype(np.float32)
        line = f"{net} {size} {batch}"
        compare(line, ours.output(line, folder, x), session.run(None, {"x": x})[0])
        theirs = timed(lambda: session.run(None, {"x": x}))
        peer = f"onnxruntime {onnxruntime.__version__}"
        table.add(net, size, batch, threads, "forward", ours.timer(line), peer, theirs, args.runs)
    for net, size in LITERT_TURNS:
        if args.only not in net:
            continue
        from ai_edge_litert.interpreter import Interpreter

        model = mediapipe_files.network(net, "target/mediapipe")
        interpreter = Interpreter(model_content=model, num_threads=threads)
        interpreter.allocate_tensors()
        place = interpreter.get_input_details()[0]["index"]
        x = pictures.uniform(-1, 1, (1, size, size, 3)).astype(np.float32)
        interpreter.set_tensor(place, x)
        interpreter.invoke()
        line = f"{net} {size} 1"
        found = ours.output(line, folder, np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
        outputs = [interpreter.get_tensor(output["index"]) for output in interpreter.get_output_details()]
        compare(line, found, next(output for output in outputs if output.size == found.size))
        peer = "ai-edge-litert 2.3.0 (XNNPACK)"
        table.add(net, size, 1, threads, "forward", ours.timer(line), peer, timed(interpreter.invoke), args.runs)
    ours.close()


def compare(line, found, wanted):
    error = np.abs(found - wanted.ravel()).max() / np.abs(wanted).max()
    if not error < TOLERANCE:
        raise SystemExit(f"{line}: our output is {error:.1e} away from the peer's")


def training_steps(table, args, folder):
    ours = Ours(args.program, TRAINING_THREADS)
    if args.only in "resnet-18":
        plain = Ours(args.program, TRAINING_THREADS, plain=True)
        theirs = plain.timer("train-plain resnet-18 112 32")
        table.add("resnet-18", 112, 32, TRAINING_THREADS, "train", ours.timer("train resnet-18 112 32"),
                  "candle 0.11.1", theirs, args.train_runs)
        plain.close()
    if args.only in "mobilenet-v1":
        theirs, peer = tensorflow_step(folder, "mobilenet-v1", 112, 32, TRAINING_THREADS)
        table.add("mobilenet-v1", 112, 32, TRAINING_THREADS, "train", ours.timer("train mobilenet-v1 112 32"),
                  peer, theirs, args.train_runs)
    ours.close()


def whole_clip(table, folder):
    """Milliseconds a frame, from the first frame read to the last."""
    if not CLIP.exists():
        print(f"skipped: {CLIP} is not there; run make media")
        return
    results = folder / "results.jsonl"

    def ours():
        done = subprocess.run([PROGRAM, "--input", CLIP, "--results", results, "-y"], check=True, capture_output=True, text=True)
        return 1e3 / float(re.search(r"([0-9.]+) frames/s", done.stdout + done.stderr)[1])

    def theirs():
        done = subprocess.run([sys.executable, "scripts/bench_clip.py", CLIP], check=True, capture_output=True, text=True,
                              env=dict(os.environ, PYTHONPATH="target/bench-mediapipe"))
        frames, faces, seconds = map(float, done.stdout.split())
        found = len(results.read_text().splitlines())
        if faces != found:
            print(f"faces in {frames:.0f} frames: ours {found}, the peer's {faces:.0f}")
        return 1e3 * seconds / frames

    table.add("sample clip", 640, 1, os.cpu_count(), "frame", ours, "mediapipe 0.10.21", theirs, CLIP_RUNS, warm_up=1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("out", type=Path)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--train-runs", type=int, default=30)
    parser.add_argument("--only", default="", help="nets whose name contains this")
    args = parser.parse_args()
    table = Table()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        subprocess.run([args.program, "export", folder], check=True)
        for threads in (1, 2):
            forward_passes(table, args, folder, threads)
        if args.only in "sample clip":
            whole_clip(table, folder)
        if args.train_runs:
            training_steps(table, args, folder)
    args.out.write_text(json.dumps(table.rows, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
