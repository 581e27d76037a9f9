#!/usr/bin/env bash
# Makes the packaged encoder endofm-nano-4x96: lists pictures, distils, scores, packages. Rerun the command to resume.
# Needs the extras train and distill, and about an hour of one core.
#
#   ENDOFM_REAL=... ENDOFM_MEDIA=... bash recipes/endofm-nano-4x96/make.sh WORK
#
# ENDOFM_REAL is the folder of real images (docs/bench.md). With ENDOFM_MEDIA (a folder of real clips with their
# licences), frames of the three recordings under the MIT licence are added.
set -euo pipefail
work=$(realpath -m "${1:?give a folder for pictures and runs}")
here=$(cd "$(dirname "$0")" && pwd)
packed="$here/../../endofm/weights/endofm-nano-4x96"
mkdir -p "$work"

python "$here/pictures.py" "$ENDOFM_REAL" "$work/pictures.csv" ${ENDOFM_MEDIA:+--videos "$ENDOFM_MEDIA/videos"}
endofm pretrain "$here/distill.yaml" --out "$work/run" "data.clips=[$work/pictures.csv]" "objective.cache=$work/maps"
# Later steps fit these pictures better and capsule frames worse (docs/images/nano-curve.png).
python "$here/average.py" "$work/run" --steps 7680 11520 -o "$work/middle"
endofm pretrain "$here/distill.yaml" --out "$work/run-colours" "data.clips=[$work/pictures.csv]" \
    "objective.cache=$work/maps" "init.source=$work/middle" run.epochs=60 run.checkpoint_every_epochs=8 \
    objective.learning_rate=4e-3 objective.final_learning_rate=1e-3 objective.warmup_epochs=4 \
    objective.views.brightness=0.1 objective.views.contrast=0.1 objective.views.saturation=0.1
python "$here/average.py" "$work/run-colours" --steps 900 2400 -o "$work/encoder"

cd "$here/../.."
python "$here/package_weights.py" "$work/encoder" "$packed"
python "$here/curve.py" "$work/run" "$work/curve"
endofm bench --weights endofm-nano-4x96,untrained:endofm-nano-4x96 --suite real-stills -o "$work/bench"
python "$here/fill_page.py" "$work/bench" docs/bench.md docs/images/bench-real-stills.png
endofm bench --weights "$work"/curve/step-* --controls none --suite real-stills --sets polyp-crop,bleeding-folds \
    -o "$work/curve-bench"
python "$here/curve.py" "$work/run" "$work/curve" --scores "$work/curve-bench/results.json" \
    --plot docs/images/nano-curve.png
# scores.json adds the encoder that this one replaced, which is no longer in the package.
python "$here/package_weights.py" "$work/encoder" "$packed" --scores "$work/bench/results.json" "$here/scores.json"
