#!/bin/sh
# The experiments of docs/accuracy.md, one after the other; each can be stopped and goes on where it was.
#
#   scripts/experiments.sh gpu SHARDS START RUNS       the whole list, on an NVIDIA GPU
#   scripts/experiments.sh cpu SHARDS START RUNS       the reduced list (8,000 images, 64x64, 8 epochs) on a CPU
#   scripts/experiments.sh gpu SHARDS START RUNS shipped     only the runs whose names begin so
#
# SHARDS: what `lanet-live prepare` made of FER+ (with its labels.csv); START: the backbone's starting weights;
# RUNS: a folder for the results. LANET names the program (default: the release build), SEEDS the seeds (default: 0).
set -eu

kind=$1 shards=$2 start=$3 runs=$4 only=${5:-}
lanet=${LANET:-target/release/lanet-live}
plain="--lde off --el off --landmark-branch off"

case $kind in
gpu) common="--device cuda:0 --size 112 --batch 128 --epochs 40" shipped="--device cuda:0 --epochs 40" ;;
cpu) common="--device cpu --size 64 --batch 64 --epochs 8 --images 8000" shipped="--device cpu --epochs 8" ;;
*) echo "usage: $0 gpu|cpu SHARDS START RUNS [NAME]" >&2; exit 2 ;;
esac
seeds=${SEEDS:-0}

# run NAME OPTIONS: begins, goes on with, or skips a run. valid-a chooses the epoch; what valid-b says of each epoch is in
# the column `reported` of metrics.csv.
run() {
    name=$1; shift
    case $name in "$only"*) ;; *) return 0 ;; esac
    out=$runs/$name
    if [ ! -f "$out/done" ]; then
        resume=
        [ -f "$out/run.safetensors" ] && resume=--resume
        "$lanet" train --data "$shards" --split-valid valid-a --split-report valid-b --start "$start" --output "$out" \
            "$@" $resume --no-progress >>"$runs/$name.log" 2>&1
        touch "$out/done"
        tail -n 1 "$runs/$name.log"
    fi
}

mkdir -p "$runs"
# shellcheck disable=SC2086 # the options are words
for seed in $seeds; do
    s="$common --seed $seed --labels majority"
    # 2. Symmetric noise of 30 %, plain cross-entropy against LA-Net.   3. Real noise: the labels of FER-2013.
    run "noise30-plain-$seed" $s --noise symmetric:0.3 $plain
    run "noise30-lanet-$seed" $s --noise symmetric:0.3
    run "real-plain-$seed" $common --seed "$seed" --labels fer2013 $plain
    run "real-lanet-$seed" $common --seed "$seed" --labels fer2013
    # 1. The net that ships: votes as labels, all images, no noise.
    run "shipped-$seed" $shipped --seed "$seed" --size 112 --batch 64 --labels votes --sampler shuffled \
        --optimizer adamw --rate 5e-4 --decay 0.05 --schedule cosine $plain
    # 4. What each part does at 30 %.
    run "noise30-lde-$seed" $s --noise symmetric:0.3 --el off --landmark-branch off
    run "noise30-landmarks-$seed" $s --noise symmetric:0.3 --el off --lde off
    run "noise30-lde-landmarks-$seed" $s --noise symmetric:0.3 --el off
    # 2. 20 and 10 %.
    for p in 2 1; do
        run "noise${p}0-plain-$seed" $s --noise "symmetric:0.$p" $plain
        run "noise${p}0-lanet-$seed" $s --noise "symmetric:0.$p"
    done
done
