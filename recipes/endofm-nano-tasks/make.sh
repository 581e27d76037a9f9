#!/usr/bin/env bash
# Makes the packaged task models: polyp masks, polyp boxes, organs. Rerun the command to resume. Needs the extra train,
# and about half an hour of one core.
#
#   ENDOFM_REAL=... bash recipes/endofm-nano-tasks/make.sh WORK [ENCODER]
#
# ENDOFM_REAL is the folder of real images (docs/bench.md); ENCODER is the start, endofm-nano-4x96 by default.
set -euo pipefail
work=$(realpath -m "${1:?give a folder for lists and runs}")
encoder=${2:-endofm-nano-4x96}
here=$(cd "$(dirname "$0")" && pwd)
packed="$here/../../endofm/weights"
mkdir -p "$work"

python "$here/labels.py" "$ENDOFM_REAL" "$work"
python "$here/start.py" "$encoder" "$work/start" --side 160
endofm finetune segmentation "$here/masks.yaml" --out "$work/runs/masks" \
    model.source="$work/start" "data.train=[$work/polyps]"
endofm finetune detection "$here/boxes.yaml" --out "$work/runs/boxes" \
    model.source="$work/runs/masks/export" data.root="$work/polyps"
endofm finetune classification "$here/organs.yaml" --out "$work/runs/organs" \
    model.source="$encoder" "data.train=[$work/organs.csv]"
python "$here/package_weights.py" "$work" "$packed" --scores "$here/scores.json"
