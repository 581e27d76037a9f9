#!/usr/bin/env bash
# Makes the packaged encoder endofm-nano-4x96: renders clips, trains in three stages, scores, packages.
# Rerun the command to resume. Needs the extra train, and about an hour on two cores.
#
#   bash recipes/endofm-nano-4x96/make.sh WORK
#
# With ENDOFM_MEDIA (a folder of real clips with their licences), windows of the three recordings under the MIT licence
# are added to the rendered clips of the first stage.
set -euo pipefail
work=${1:?give a folder for clips and runs}
here=$(cd "$(dirname "$0")" && pwd)
packed="$here/../../endofm/weights/endofm-nano-4x96"

render() { endofm data synth "$work/$1" --size 128 "${@:2}"; }
render clips --task pretrain --frames 8 --fps 5 --clips 4096 --patients 64 --seed 505 --difficulty 0
render masks --task segmentation --layout folders --frames 8 --fps 5 --clips 2400 --patients 120 --seed 606 \
    --positive 0.7 --difficulty 0 --split 0.9,0.05,0.05
render labelled-large --task classification --frames 16 --clips 600 --patients 60 --seed 303 --difficulty 0
render labelled-medium --task classification --frames 16 --clips 800 --patients 60 --seed 101

clips="$work/clips"
if [ -n "${ENDOFM_MEDIA:-}" ]; then
    python "$here/real_windows.py" "$ENDOFM_MEDIA/videos" "$work/real.csv"
    clips="$clips, $work/real.csv"
fi
endofm pretrain "$here/pretrain.yaml" --out "$work/first" "data.clips=[$clips]" "knn.clips=[$work/labelled-large]"
endofm finetune segmentation "$here/masks.yaml" --out "$work/second" "model.source=$work/first/export" \
    "data.train=$work/masks"
endofm finetune classification "$here/labels.yaml" --out "$work/third" "model.source=$work/second/export" \
    "data.train=$work/clips/manifest.csv"

python "$here/curves.py" "$work" "$here/../../docs/images/nano-stages.png"
python "$here/package_weights.py" "$work" "$packed"
python "$here/evaluate.py" "$packed" "$work/labelled-large" "$work/labelled-medium" --out "$work/scores.json" \
    ${ENDOFM_MEDIA:+--videos "$ENDOFM_MEDIA/videos"}
python "$here/package_weights.py" "$work" "$packed" --scores "$work/scores.json"
