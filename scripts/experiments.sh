#!/bin/sh
# The experiments of docs/accuracy.md, one after the other; each can be stopped and goes on where it was.
#
#   scripts/experiments.sh gpu SHARDS START RUNS       the whole list, on an NVIDIA GPU
#   scripts/experiments.sh cpu SHARDS START RUNS       the reduced list (8,000 images, 64x64, 8 epochs) on a CPU
#   scripts/experiments.sh proof SHARDS START RUNS     which part of LA-Net does what, long enough to memorise wrong labels
#   scripts/experiments.sh starts SHARDS - RUNS        where to start from and how large to see, two epochs each
#   scripts/experiments.sh changes SHARDS START RUNS   what each change of the pictures, the moving average, flip consistency and
#                                                      LA-Net do (START: SFace's weights)
#   scripts/experiments.sh gpu SHARDS START RUNS shipped     only the runs whose names begin so
#
# SHARDS: what `lanet-live prepare` made of FER+ (with its labels.csv); START: the backbone's starting weights;
# RUNS: a folder for the results. LANET names the program (default: the release build), SEEDS the seeds (default: 0, for the
# proof 0 1 2), DEVICE the device of proof, starts and changes (default: cpu), IMAGES how many faces these learn from (default:
# 4,000 for the proof, else 8,000), and SIDE the side of the proof's faces (default: 64; or 112).
#
# The starts need STARTS, a folder with sface-mobilenet-v1.safetensors and face-mobilenet-v1.safetensors.
#
# The proof: 4,000 faces, 40 epochs (160,000 faces seen), batches of 128, 30 % symmetric noise and the labels of FER-2013.
# Its constants are those that are to so short a run what the authors' are to theirs:
# - memory 0.82: over 40 visits of a face the given label's mean share in the estimated label is what it is over 80 with 0.9;
# - momentum 0.99: after 1,240 steps nothing is left in the momentum network of the random weights that it began with;
# - the sampler is shuffled in all arms: one that balances by wrong labels shows more and more of them;
# - a landmark's spot is as large a part of the face as theirs (1.5 of 56 pixels), and the weight of the landmark loss makes
#   up for smaller maps, over which it is a mean: 0.08 at 64 pixels, 0.25 at 112.
# lanet-sure: where 30 % are wrong no face is right with more than 0.7, from which on EL takes an estimated label for sure, before
# the net memorises; 0.5 is to 0.7 what 0.7 is to certainty.
# It takes some 10 hours on two cores. EL alone is what LA-Net has beyond LDE and the landmark branch, which it needs.
set -eu

kind=$1 shards=$2 start=$3 runs=$4 only=${5:-}
lanet=${LANET:-target/release/lanet-live}
report="--split-report valid-b"
plain="--lde off --el off --landmark-branch off"

case $kind in
gpu) common="--device cuda:0 --size 112 --batch 128 --epochs 40" shipped="--device cuda:0 --epochs 40" ;;
cpu) common="--device cpu --size 64 --batch 64 --epochs 8 --images 8000" shipped="--device cpu --epochs 8" ;;
proof)
    side=${SIDE:-64}
    case $side in 64) weight=0.08 ;; 112) weight=0.25 ;; *) echo "SIDE is 64 or 112" >&2; exit 2 ;; esac
    common="--device ${DEVICE:-cpu} --size $side --batch 128 --epochs 40 --images ${IMAGES:-4000} --sampler shuffled"
    common="$common --memory 0.82 --momentum 0.99 --landmark-weight $weight --sigma 0.0268"
    ;;
starts | changes)
    common="--device ${DEVICE:-cpu} --images ${IMAGES:-8000} --batch 64 --labels votes --sampler shuffled --optimizer adamw"
    common="$common --rate 5e-4 --decay 0.05 --schedule cosine"
    ;;
*) echo "usage: $0 gpu|cpu|proof|starts|changes SHARDS START RUNS [NAME]" >&2; exit 2 ;;
esac

# run NAME OPTIONS: begins, goes on with, or skips a run. valid-a chooses the epoch; what valid-b says of each epoch is in
# the column `reported` of metrics.csv.
run() {
    name=$1; shift
    case $name in "$only"*) ;; *) return 0 ;; esac
    out=$runs/$name
    if [ ! -f "$out/done" ]; then
        resume=
        [ -f "$out/run.safetensors" ] && resume=--resume
        "$lanet" train --data "$shards" --split-valid valid-a $report --start "$start" --output "$out" "$@" $resume --no-progress >>"$runs/$name.log" 2>&1
        touch "$out/done"
        tail -n 1 "$runs/$name.log"
    fi
}

mkdir -p "$runs"
# shellcheck disable=SC2086
case $kind in
starts)
    report=
    for seed in ${SEEDS:-0}; do
        for backbone in sface-mobilenet-v1 mobilenet-v1; do
            case $backbone in s*) start=$STARTS/$backbone.safetensors ;; *) start=$STARTS/face-$backbone.safetensors ;; esac
            for side in 64 112; do
                run "start-$backbone-$side-$seed" $common $plain --backbone $backbone --size $side --epochs 2 --seed "$seed"
            done
        done
    done
    exit 0
    ;;
changes)
    report=
    for seed in ${SEEDS:-0}; do
        all="$common --backbone sface-mobilenet-v1 --size 64 --epochs 4 --seed $seed"
        s="$all $plain"
        parts="$all --memory 0.5 --momentum 0.99 --landmark-weight 0.08 --sigma 0.0268"
        run "changes-none-$seed" $s --augment off
        run "changes-usual-$seed" $s
        run "changes-average-$seed" $s --average 0.99
        run "changes-erase0-$seed" $s --augment erase=0
        run "changes-coarse0-$seed" $s --augment coarse=0,blur=0
        run "changes-turn10-$seed" $s --augment turn=10
        run "changes-cutmix-$seed" $s --cutmix 0.5
        run "changes-flip-$seed" $s --flip-consistency 5
        run "changes-lde-$seed" $parts --el off --landmark-branch off
        run "changes-landmarks-$seed" $parts --lde off --el off
        run "changes-lanet-$seed" $parts
    done
    exit 0
    ;;
esac
# shellcheck disable=SC2086 # the options are words
if [ "$kind" = proof ]; then
    for seed in ${SEEDS:-0 1 2}; do
        for labels in noise30 real; do
            case $labels in
            noise30) s="$common --seed $seed --labels majority --noise symmetric:0.3" ;;
            real) s="$common --seed $seed --labels fer2013" ;;
            esac
            run "proof-$labels-plain-$seed" $s $plain
            run "proof-$labels-lanet-$seed" $s
            run "proof-$labels-lanet-sure-$seed" $s --sure 0.5
            run "proof-$labels-lde-$seed" $s --el off --landmark-branch off
            run "proof-$labels-landmarks-$seed" $s --el off --lde off
            run "proof-$labels-lde-landmarks-$seed" $s --el off
        done
    done
    exit 0
fi
# shellcheck disable=SC2086
for seed in ${SEEDS:-0}; do
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
