"""How many planted wrong labels an audit finds, beside cleanlab: see audit_evidence.sh."""

import argparse
import csv
import subprocess
from pathlib import Path

import numpy as np
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores

NAMES = ["neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt"]
# What each is most easily taken for, as in `train --noise class-dependent`; contempt stays.
TAKEN_FOR = [3, 0, 4, 0, 5, 4, 2, 7]
PLANTS = [f"{kind}:{rate}" for kind in ("symmetric", "class-dependent") for rate in (0.1, 0.2, 0.3)]


def majority(row):
    """The expression that has more than half of the votes, single votes counting as none; None if there is none."""
    counted = lambda name: int(row[name]) if int(row[name]) > 1 else 0
    votes = [counted(name) for name in NAMES]
    best = int(np.argmax(votes))
    others = counted("unknown") + counted("not_a_face")
    return best if votes[best] > (sum(votes) + others) / 2 else None


def plant(truth, kind, rate, rng):
    moves = rng.random(len(truth)) < rate
    if kind == "symmetric":
        wrong = (truth + rng.integers(1, len(NAMES), len(truth))) % len(NAMES)
    else:
        wrong = np.array(TAKEN_FOR)[truth]
    return np.where(moves, wrong, truth)


def figures(order, wrong):
    """Precision among as many labels as are wrong (which is the recall there, too), among half as many, and the area under
    the curve of precision over recall (average precision)."""
    found = wrong[order]
    count = int(wrong.sum())
    precision = np.cumsum(found) / np.arange(1, len(found) + 1)
    return found[:count].mean(), found[: count // 2].mean(), (precision * found).sum() / count


def table(file):
    with open(file, newline="") as lines:
        return list(csv.DictReader(lines))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--program", type=Path, default=Path("target/release/lanet-live"))
    parser.add_argument("--start", default="lanet-sface")
    parser.add_argument("--backbone")
    parser.add_argument("--plant", action="append", choices=PLANTS)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    rows = [(row["path"], majority(row)) for row in table(given.data / "labels.csv") if row["split"] == "train"]
    rows = [(path, label) for path, label in rows if label is not None]
    truth = np.array([label for _, label in rows])
    given.out.mkdir(parents=True, exist_ok=True)
    start = Path(given.start).stem
    lines = []
    print(f"{len(rows)} faces, features of {start}, seed {given.seed}\n")
    print("| planted | ranked by | precision = recall at the planted rate | precision at half of it | area under PR |")
    print("|---|---|---|---|---|", flush=True)
    for name in given.plant or PLANTS:
        kind, rate = name.split(":")
        labels = plant(truth, kind, float(rate), np.random.default_rng(given.seed))
        data = given.out / f"{kind}-{rate}-{start}"
        data.mkdir(exist_ok=True)
        for shard in given.data.resolve().glob("*.faces"):
            (data / shard.name).unlink(missing_ok=True)
            (data / shard.name).symlink_to(shard)
        with open(data / "labels.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["path", "label"])
            writer.writerows((path, NAMES[label]) for (path, _), label in zip(rows, labels))
        command = [given.program, "audit", "--data", data, "--output", data / "audit", "--faces", "300", "-y", "--start", given.start,
                   "--probabilities", data / "told.csv", "--cache", given.out / f"cache-{start}", "--no-progress"]
        command += ["--backbone", given.backbone] if given.backbone else []
        subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)

        place = {path: n for n, (path, _) in enumerate(rows)}
        told = table(data / "told.csv")
        judged = np.array([place[row["path"]] for row in told])
        wrong = np.zeros(len(rows), bool)
        wrong[judged] = (labels != truth)[judged]
        ours = np.array([place[row["path"]] for row in table(data / "audit" / "audit.csv")])
        probabilities = np.array([[float(row[label]) for label in NAMES] for row in told])
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        orders = {"**lanet-live audit**": ours}
        shown = labels[judged]
        for method in ("self_confidence", "normalized_margin", "confidence_weighted_entropy"):
            scores = get_label_quality_scores(shown, probabilities, method=method)
            orders[f"cleanlab {method}"] = judged[np.argsort(scores, kind="stable")]
        first = judged[find_label_issues(shown, probabilities, return_indices_ranked_by="self_confidence")]
        rest = orders["cleanlab self_confidence"]
        orders["cleanlab find_label_issues"] = np.concatenate([first, rest[~np.isin(rest, first)]])
        for by, order in orders.items():
            at_rate, at_half, area = figures(order, wrong)
            lines.append([name, start, given.seed, by.strip("*"), at_rate, at_half, area, int(wrong.sum()), len(first)])
            print(f"| {name} | {by} | {at_rate:.4f} | {at_half:.4f} | {area:.4f} |", flush=True)
    evidence = given.out / "evidence.csv"
    new = not evidence.exists()
    with open(evidence, "a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(["planted", "start", "seed", "by", "at_rate", "at_half", "area", "wrong", "issues"])
        writer.writerows(lines)


main()
