"""Measures the live view; started by scripts/bench_live.sh.

Usage: scripts/bench_live.py [--seconds N] [--program PROGRAM]

A player sends Motion JPEG in real time over HTTP, as a camera would send it. It is prepared beforehand, so that it costs
hardly anything while others work. Memory over long: --seconds 1800.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

RATE, SIZE = 30, "1280:720"
MEDIA = Path("target/media")
# One face that moves and changes; five that a camera passes over.
SOURCES = {
    1: ["-stream_loop", "-1", "-i", MEDIA / "WolfgangLanger_Pexels.mp4", "-vf", f"scale={SIZE},fps={RATE}"],
    5: ["-loop", "1", "-framerate", str(RATE), "-i", MEDIA / "multi_face.jpg", "-vf",
        "scale=1360:-2,crop=1280:720:x='40+40*sin(t)':y='60+40*cos(t*0.7)'"],
}


def prepared(folder, faces, seconds):
    path = folder / f"{faces}.nut"
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", *SOURCES[faces], "-t", str(seconds), "-an", "-c:v", "mjpeg",
                    "-q:v", "4", "-pix_fmt", "yuvj420p", path], check=True)
    return path


def player(path):
    """Waits for one listener; then plays."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{probe.getsockname()[1]}/live.nut"
    playing = subprocess.Popen(["ffmpeg", "-nostdin", "-v", "error", "-re", "-i", path, "-c", "copy", "-flush_packets", "1",
                                "-f", "nut", "-listen", "1", address], stderr=subprocess.DEVNULL)
    time.sleep(0.5)
    return playing, address


def measured(command, environment=None, while_running=None):
    """Standard output and error of a command, the processor's seconds that it took, and its most memory in MB."""
    with tempfile.TemporaryFile("w+") as out:
        child = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, text=True, env=environment)
        if while_running:
            while_running(child)
        _, status, usage = os.wait4(child.pid, 0)
        out.seek(0)
        text = out.read()
        if status:
            raise SystemExit(f"{command[0]} failed: {text}")
        return text, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def ours(program, path, clients):
    playing, address = player(path)
    command = [program, "--input", address, "--reconnect", "0", "--no-window=false", "--stats=json", "--quiet"]
    watch = None
    if clients:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command += ["--serve", str(port)]

        def drain():
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/stream.mjpg") as answer:
                    while answer.read(1 << 16):
                        pass
            except OSError:
                pass

        def watch(_):
            time.sleep(1)
            for _ in range(clients):
                threading.Thread(target=drain, daemon=True).start()
    text, seconds, memory = measured(command, dict(os.environ, DISPLAY=":97"), watch)
    playing.wait()
    stats = json.loads(text.splitlines()[-1])
    age = next(stage for stage in stats["stages"] if stage["name"] == "age")
    return {
        "first shown s": stats["first_shown_seconds"], "age median ms": age["median_ms"], "age p95 ms": age["p95_ms"],
        "frames/s shown": age["count"] / stats["seconds"], "dropped": stats["dropped"],
        "processor ms/frame": 1e3 * seconds / stats["frames"], "memory MB": memory,
    }


def theirs(path):
    playing, address = player(path)
    text, seconds, memory = measured([sys.executable, "scripts/bench_clip.py", address],
                                     dict(os.environ, PYTHONPATH="target/bench-mediapipe"))
    playing.wait()
    frames = float(text.splitlines()[-1].split()[0])
    return {"processor ms/frame": 1e3 * seconds / frames, "memory MB": memory}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--program", default="target/release/lanet-live")
    args = parser.parse_args()
    rows = []

    def add(who, faces, found):
        rows.append({"who": who, "faces": faces, **found})
        print(f"{who:24}{faces} faces  " + "  ".join(f"{name} {value:.2f}" for name, value in found.items()), flush=True)
        return found

    screen = subprocess.Popen(["Xvfb", ":97", "-screen", "0", "1400x900x24"], stderr=subprocess.DEVNULL)
    time.sleep(1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            for faces in SOURCES:
                path = prepared(Path(folder), faces, args.seconds)
                alone = add("lanet-live", faces, ours(args.program, path, 0))
                served = add("lanet-live, 3 clients", faces, ours(args.program, path, 3))
                peer = add("mediapipe 0.10.21", faces, theirs(path))
                ratio = alone["processor ms/frame"] / peer["processor ms/frame"]
                later = served["age median ms"] - alone["age median ms"]
                print(f"{'':24}{faces} faces  processor beside the peer {ratio:.2f}  age with clients +{later:.1f} ms")
    finally:
        screen.terminate()
    Path("target/bench-live.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
