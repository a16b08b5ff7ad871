#!/usr/bin/env python3
"""Joins FER+ and a part of the LFW expressions into one folder to learn from.

    scripts/add_lfw.py FERPLUS LFW OUT

FERPLUS has labels.csv with votes and the column fer2013, LFW has labels.csv with path, label, person. OUT gets links to both
folders and one labels.csv: all of FER+, and of LFW as training faces all that show anger, disgust, fear or contempt, and of
people with fewer than four pictures all that show surprise or sadness and 1,000 each that are neutral or happy (seed 0). The
people with more pictures stay apart: what a personal neutral does is measured on them.
"""

import collections
import csv
import os
import random
import sys

EXPRESSIONS = ["neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt"]
RARE = ("anger", "disgust", "fear", "contempt")
MOST = {"neutral": 1000, "happiness": 1000}


def table(folder):
    with open(os.path.join(folder, "labels.csv")) as file:
        return list(csv.DictReader(file))


def main():
    ferplus, lfw, out = sys.argv[1:]
    os.makedirs(out, exist_ok=True)
    rows, faces = table(ferplus), table(lfw)
    for name, folder in (("fer", ferplus), ("lfw", lfw)):
        os.symlink(os.path.abspath(os.path.join(folder, "images")), os.path.join(out, name))
    for row in rows:
        row["path"] = row["path"].replace("images/", "fer/")
    pictures = collections.Counter(face["person"] for face in faces)
    random.seed(0)
    for expression in EXPRESSIONS:
        fit = [f for f in faces if f["label"] == expression and (expression in RARE or pictures[f["person"]] < 4)]
        for face in random.sample(fit, MOST[expression]) if expression in MOST else fit:
            row = dict.fromkeys(rows[0], "0")
            row |= {"path": face["path"].replace("images/", "lfw/"), "split": "train", "fer2013": expression, expression: "10"}
            rows.append(row)
    with open(os.path.join(out, "labels.csv"), "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


main()
