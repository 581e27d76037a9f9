#!/usr/bin/env bash
# Makes the packaged encoder endofm-nano-4x96: lists pictures, distils, scores, packages. Rerun the command to resume.
# Needs the extras train and distill, and about half an hour of one core.
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

cd "$here/../.."
python "$here/package_weights.py" "$work/run/export" "$packed"
python "$here/curve.py" "$work/run" "$work/curve"
endofm bench --weights endofm-nano-4x96,untrained:endofm-nano-4x96 --suite real-stills -o "$work/bench"
python "$here/fill_page.py" "$work/bench" docs/bench.md docs/images/bench-real-stills.png
endofm bench --weights "$work"/curve/step-* --controls none --suite real-stills --sets polyp-crop,bleeding-folds \
    -o "$work/curve-bench"
python "$here/curve.py" "$work/run" "$work/curve" --scores "$work/curve-bench/results.json" \
    --plot docs/images/nano-curve.png
# scores.json adds the encoder that this one replaced, which is no longer in the package.
python "$here/package_weights.py" "$work/run/export" "$packed" --scores "$work/bench/results.json" "$here/scores.json"
