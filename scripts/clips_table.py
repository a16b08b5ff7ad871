#!/usr/bin/env python3
"""Makes a table of clips that are put together from faces of FER+: python3 clips_table.py FERPLUS OUT [CLIPS] [SEED]

A clip is 16 faces of `train`: eight of the expression that it is labelled with, and before and after them four each of
others, as onset and offset show them. A fifth of the clips of each expression is `valid`, labelled as wrongly. The faces of
`valid-a` with their own labels are `held-out`. Faces count by the majority protocol (docs/accuracy.md).
"""

import csv
import os
import random
import sys

NAMES = ["neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt"]


def majority(row):
    votes = {name: int(row[name]) for name in NAMES + ["unknown", "not_a_face"]}
    votes = {name: count if count > 1 else 0 for name, count in votes.items()}
    top = max(NAMES, key=votes.get)
    return top if votes[top] * 2 > sum(votes.values()) else None


def main(data, out, clips=10, seed=0):
    draw = random.Random(seed)
    faces = {"train": {name: [] for name in NAMES}, "valid-a": {name: [] for name in NAMES}}
    with open(os.path.join(data, "labels.csv"), newline="") as table:
        for row in csv.DictReader(table):
            label = majority(row)
            if label and row["split"] in faces:
                faces[row["split"]][label].append(os.path.abspath(os.path.join(data, row["path"])))
    pools = {name: [] for name in NAMES}

    def take(name, count):
        if len(pools[name]) < count:
            pools[name] = draw.sample(faces["train"][name], len(faces["train"][name]))
        taken, pools[name] = pools[name][:count], pools[name][count:]
        return taken

    os.makedirs(out, exist_ok=True)
    with open(os.path.join(out, "labels.csv"), "w", newline="") as table:
        writer = csv.writer(table)
        writer.writerow(["path", "label", "split", "clip", "shows"])
        for label in NAMES:
            for n in range(clips):
                split = "valid" if n < max(1, clips // 5) else "train"
                before, after = (draw.choice([name for name in NAMES if name != label]) for _ in range(2))
                for shows, count in [(before, 4), (label, 8), (after, 4)]:
                    for path in take(shows, count):
                        writer.writerow([path, label, split, f"{label}-{n}", shows])
        for label, paths in faces["valid-a"].items():
            for path in paths:
                writer.writerow([path, label, "held-out", "", label])


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(int, sys.argv[3:5]))
