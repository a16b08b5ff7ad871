"""What a personal neutral does to faces that nobody chose for it: people of lfw-expressions with four pictures or more, two of
them neutral. Half of a person's neutral pictures, drawn at random, make the neutral; the other pictures are judged with and
without it. The mean over several draws is printed.

The program reads the faces (evaluate --faces); the correction is that of src/neutral.rs, on calibrated logits.

    python3 scripts/neutral_evidence.py --data target/data/lfw-expressions [--model NAME|DIR] [--draws 20]
                                        [--program target/release/lanet-live] [--work target/neutral]
"""

import argparse
import csv
import math
import random
import statistics
import subprocess
import tomllib
from collections import defaultdict
from pathlib import Path

NAMES = ["neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt"]
# Those of src/neutral.rs.
MARGINS = [0, 0.1, 0.1, 2, 2, 2, 2, 2]


def table(data, work):
    """The pictures of the people in question, as a table for the program: path to person."""
    people = defaultdict(list)
    with open(data / "labels.csv", newline="") as file:
        for row in csv.DictReader(file):
            people[row["person"]].append(row)
    rows = [
        ((data / row["path"]).resolve(), row["label"], person)
        for person, rows in people.items()
        if len(rows) >= 4 and sum(row["label"] == "neutral" for row in rows) >= 2
        for row in rows
    ]
    with open(work / "labels.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "person"])
        writer.writerows(rows)
    return {str(path): person for path, _, person in rows}


def scores(card, calibration):
    """Calibrated logits of logits, as src/calibration.rs makes them where what is usual is expected."""
    offsets, shares, power = [0.0] * len(NAMES), card.get("priors"), card.get("prior", 1.0)
    if shares:
        logs = [math.log(shares[name]) for name in NAMES]
        offsets = [log * (1 if name == "contempt" else power) for name, log in zip(NAMES, logs)]
    temperature = calibration.get("temperature", 1.0)
    scale, shift = [1 / temperature] * len(NAMES), [0.0] * len(NAMES)
    if power == 1 and "natural" in calibration:
        scale = [1 / calibration["natural"]] * len(NAMES)
    vector = calibration.get("vectors", {}).get("usual")
    if vector:
        scale, shift = vector["scale"], vector["shift"]
    return lambda logits: [s * (z + o) + d for z, o, s, d in zip(logits, offsets, scale, shift)]


def excess(rest):
    """What is taken off the scores of whoever has these at rest."""
    middle = [sorted(column)[len(rest) // 2] for column in zip(*rest)]
    return [max(0.0, score - middle[0] + margin) for score, margin in zip(middle, MARGINS)]


def told(score, less):
    reduced = [a - b for a, b in zip(score, less)]
    return NAMES[reduced.index(max(reduced))]


def judge(people, draws):
    """Means over draws: of each label the share told right with and without, and how many faces were judged."""
    right = {True: defaultdict(list), False: defaultdict(list)}
    for seed in range(draws):
        random.seed(seed)
        counts = {True: defaultdict(lambda: [0, 0]), False: defaultdict(lambda: [0, 0])}
        for faces in people.values():
            neutral = [n for n, (label, _) in enumerate(faces) if label == "neutral"]
            chosen = set(random.sample(neutral, len(neutral) // 2))
            own = excess([faces[n][1] for n in chosen])
            for n, (label, score) in enumerate(faces):
                if n not in chosen:
                    for with_own, less in [(False, [0.0] * len(NAMES)), (True, own)]:
                        for key in (label, "all"):
                            count = counts[with_own][key]
                            count[0] += told(score, less) == label
                            count[1] += 1
        for with_own, labels in counts.items():
            for label, (good, all_of_it) in labels.items():
                right[with_own][label].append((good / all_of_it, all_of_it))
    return right


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", type=Path, required=True)
    arguments.add_argument("--model", help="a name or a folder [default: the one in the program]")
    arguments.add_argument("--draws", type=int, default=20)
    arguments.add_argument("--program", type=Path, default=Path("target/release/lanet-live"))
    arguments.add_argument("--work", type=Path, default=Path("target/neutral"))
    arguments = arguments.parse_args()
    work = arguments.work
    work.mkdir(parents=True, exist_ok=True)
    persons = table(arguments.data, work)
    model = ["--model", arguments.model] if arguments.model else []
    call = [arguments.program, "evaluate", "--data", work / "labels.csv", "--cache", work, *model]
    subprocess.run([*call, "--faces", work / "faces.csv", "-y"], check=True, stdout=subprocess.DEVNULL)

    folder = Path(arguments.model or "")
    if arguments.model and folder.is_dir():
        card, beside = (folder / "card.toml").read_text(), folder / "calibration.toml"
    else:
        listed = subprocess.run([arguments.program, "models"], check=True, capture_output=True, text=True).stdout
        name = arguments.model or next(line.split()[0] for line in listed.splitlines() if "lanet" in line.split()[0])
        show = subprocess.run([arguments.program, "models", name], check=True, capture_output=True, text=True)
        card, beside = show.stdout, Path(__file__).parent.parent / "calibration" / f"{name}.toml"
    score = scores(tomllib.loads(card), tomllib.loads(beside.read_text()) if beside.exists() else {})

    people = defaultdict(list)
    with open(work / "faces.csv", newline="") as file:
        for row in csv.DictReader(file):
            people[persons[row["path"]]].append((row["label"], score([float(row[name]) for name in NAMES])))
    right = judge(people, arguments.draws)
    print(f"{len(people)} people, {sum(map(len, people.values()))} faces, {arguments.draws} draws")
    print("label      faces  told right: without  with  their own neutral")
    for label in [*NAMES, "all"]:
        if right[True][label]:
            without, own = (statistics.mean(share for share, _ in right[key][label]) for key in (False, True))
            faces = statistics.mean(count for _, count in right[True][label])
            print(f"{label:10} {faces:5.0f}  {without:19.4f}  {own:.4f}  {100 * (own - without):+.2f} points")


if __name__ == "__main__":
    main()
