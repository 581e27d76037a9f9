#!/usr/bin/env bash
# Makes the encoder on one GPU within eight minutes, from a file of pictures that pack.py wrote. Needs the extras train
# and distill. Rerun the command to resume.
#
#   bash recipes/endofm-nano-4x96/gpu.sh pack.tar WORK [KEY=VALUE ...]
#
# The same objective, settings, resuming and export as make.sh: `endofm pretrain` keeps the decoded pictures and the
# teacher's maps in the memory of the device and cuts views there. Only batch size, learning rate and number of views
# differ, and the second, short run of make.sh and its averages are left out. LIMIT (seconds, default: 480) is that of the whole script; when time is up, training ends with
# a checkpoint.
# Results, each as soon as it exists: WORK/maps (the teacher's maps), WORK/run/checkpoints, WORK/curve/step-* (the
# checkpoints as model folders, also of a run that ran out of time), WORK/run/export (at the end of the run).
set -euo pipefail
pack=$(realpath "${1:?give the file that pack.py wrote}")
work=$(realpath -m "${2:?give a folder for pictures and runs}")
shift 2
here=$(cd "$(dirname "$0")" && pwd)
begun=$(date +%s)
mkdir -p "$work/pictures"
tar -xf "$pack" -C "$work/pictures"

# Half a minute is left for writing model folders. Training stops at the signal with a checkpoint.
left=$((${LIMIT:-480} - 30 - ($(date +%s) - begun)))
status=0
timeout --signal=TERM --kill-after=20 "$left" endofm pretrain "$here/distill.yaml" --out "$work/run" \
    "data.clips=[$work/pictures/pictures.csv]" "objective.cache=$work/maps" \
    run.accelerator=cuda run.batch_size=128 objective.learning_rate=3.0e-3 run.epochs=800 objective.warmup_epochs=40 \
    run.checkpoint_every_epochs=80 "$@" || status=$?
# 124: the time was up. Anything else is a failure, which is reported after what exists has been written.
[ "$status" -eq 0 ] || echo "gpu.sh: training ended with status $status (124: time is up); rerun to resume" >&2
python "$here/curve.py" "$work/run" "$work/curve" --every 1
[ "$status" -eq 124 ] || exit "$status"
