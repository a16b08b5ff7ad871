"""What learning somebody gains and what it forgets.

People of lfw-expressions stand for people: the sixteen with most pictures that the net has not learnt from (scripts/add_lfw.py says
which it has), of at least two expressions. Up to 15 pictures of each expression are learnt from, the others are kept back, at most 40
of each; what is forgotten is measured on FER+ valid-a. Then a real video, the sample clip, is cut into pieces whose borders come half a
second too early, learnt, and read again with the right borders, which were set by eye.

    python3 scripts/clips_evidence.py --lfw lfw-expressions --ferplus ferplus [--people 16] [--seed 0] [--only NAME]
        [--model lanet-sface] [--program target/release/lanet-live] [--work target/clips-evidence]

The figures are those of the last epoch: nothing that is measured chooses anything.
"""

import argparse
import csv
import random
import re
import subprocess
from collections import Counter, defaultdict
from pathlib import Path

from clips_table import NAMES, majority

# What the net has learnt of everybody is left out.
FRESH = ["neutral", "happiness", "surprise", "sadness"]
FEWEST, MOST, KEPT = 4, 15, 40
PULL = ["--rehearsal", "0", "--epochs", "40"]
WRONG = ["--noise", "symmetric:0.25"]
WAYS = {
    "default (rehearsal)": [],
    "pull towards the start, 200": [*PULL, "--decay", "200"],
    "pull towards the start, 1000": [*PULL, "--decay", "1000"],
    "nothing holds": [*PULL, "--decay", "0"],
    "a quarter of the labels wrong": WRONG,
    "a quarter wrong, LDE": [*WRONG, "--lde", "on"],
    "the same, weight 4": [*WRONG, "--lde", "on", "--lde-weight", "4", "--neighbours", "3"],
    "the same, weight 10": [*WRONG, "--lde", "on", "--lde-weight", "10", "--neighbours", "3", "--memory", "0.8"],
}
VIDEO = "target/media/WolfgangLanger_Pexels.mp4"
# She cries, and laughs from 9.45 s on.
BORDERS, LABELS = [0, 2.4, 4.8, 7.1, 9.45, 12, 14.5, 17, 19.69], ["sadness"] * 4 + ["happiness"] * 4


def write(file, header, rows):
    with open(file, "w", newline="") as table:
        writer = csv.writer(table)
        writer.writerow(header)
        writer.writerows(rows)


def pictures(lfw, seed, count):
    """Of each person the pictures to learn from and those that are kept back."""
    people = defaultdict(lambda: defaultdict(list))
    with open(lfw / "labels.csv", newline="") as table:
        for row in csv.DictReader(table):
            if row["label"] in FRESH:
                people[row["person"]][row["label"]].append((lfw / row["path"]).resolve())
    known = {}
    for person, by_label in people.items():
        by_label = {label: paths for label, paths in by_label.items() if len(paths) >= FEWEST}
        if len(by_label) > 1:
            known[person] = by_label
    first = sorted(known, key=lambda person: -sum(map(len, known[person].values())))[:count]
    draw, shared = random.Random(seed), {}
    for person in first:
        shared[person] = []
        for label, paths in known[person].items():
            paths = draw.sample(paths, len(paths))
            learnt = min(MOST, len(paths) // 2)
            shared[person] += [(path, label, "train") for path in paths[:learnt]]
            shared[person] += [(path, label, "kept") for path in paths[learnt : learnt + KEPT]]
    return shared


def run(program, *words):
    done = subprocess.run([program, *map(str, words), "--no-progress"], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout


def accuracy(program, model, cache, table, *more):
    told = run(program, "evaluate", "--data", table, "--model", model, "--cache", cache, *more)
    return float(re.search(r"accuracy\s+([\d.]+)", told)[1])


def people(options, seen):
    with open(options.ferplus / "labels.csv", newline="") as table:
        rows = [row for row in csv.DictReader(table) if row["split"] == "valid-a"]
    others = [((options.ferplus / row["path"]).resolve(), majority(row), "valid-a") for row in rows if majority(row)]
    work, before = options.work, {}
    for person, rows in pictures(options.lfw, options.seed, options.people).items():
        write(work / f"{person}.csv", ["path", "label", "split"], rows + others)
        before[person] = accuracy(*seen, work / f"{person}.csv", "--split", "kept")
        counts = Counter(label for _, label, split in rows if split == "train")
        print(f"{person}: learns {dict(counts)}, {before[person]:.3f} of {sum(row[2] == 'kept' for row in rows)} told before")
    whole = accuracy(*seen, work / f"{person}.csv", "--split", "valid-a")
    print(f"valid-a before: {whole:.4f}\n\n{'':32} kept back        worst   valid-a   worst (points)")
    for way, words in WAYS.items():
        if options.only and options.only != way:
            continue
        gains, losses = [], []
        for person in before:
            learn = ["train", "--data", work / f"{person}.csv", "--adapt", "on", "--start", options.model, "--seed", options.seed]
            splits = ["--split-valid", "kept", "--split-report", "valid-a", "--cache", seen[2], "--output", work / "run", "-y"]
            run(options.program, *learn, *splits, *words)
            with open(work / "run" / "metrics.csv", newline="") as table:
                last = list(csv.DictReader(table))[-1]
            gains.append(100 * (float(last["accuracy"]) - before[person]))
            losses.append(100 * (float(last["reported"]) - whole))
        mean = lambda of: sum(of) / len(of)
        start = 100 * mean(before.values())
        print(f"{way:32} {start:.1f} -> {start + mean(gains):.1f} {min(gains):+8.1f} {mean(losses):+9.2f} {min(losses):+7.2f}", flush=True)
        print("  " + ", ".join(f"{p} {g:+.1f} {l:+.1f}" for p, g, l in zip(before, gains, losses)))


def video(options, seen):
    """The sample clip: how much is told right with the right borders, before and after learning from wrong ones."""
    pieces = lambda early: [
        [Path(VIDEO).resolve(), label, f"{max(0, start - early):.2f}", f"{end - early:.2f}"]
        for label, start, end in zip(LABELS, BORDERS, BORDERS[1:])
    ]
    for name, early in [("early", 0.5), ("right", 0)]:
        write(options.work / f"{name}.csv", ["path", "label", "start", "end"], pieces(early))
    learn = ["train", "--data", options.work / "early.csv", "--start", options.model, "--seed", options.seed]
    run(options.program, *learn, "--cache", seen[2], "--output", options.work / "video", "-y")
    right = options.work / "right.csv"
    before, after = accuracy(*seen, right), accuracy(seen[0], options.work / "video" / "last", seen[2], right)
    print(f"sample clip, read with the right borders: {before:.4f} before, {after:.4f} after")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lfw", type=Path, required=True)
    parser.add_argument("--ferplus", type=Path, required=True)
    parser.add_argument("--people", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=WAYS)
    parser.add_argument("--model", default="lanet-sface")
    parser.add_argument("--program", type=Path, default=Path("target/release/lanet-live"))
    parser.add_argument("--work", type=Path, default=Path("target/clips-evidence"))
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    seen = (options.program, options.model, options.work / "faces")
    video(options, seen)
    people(options, seen)


if __name__ == "__main__":
    main()
