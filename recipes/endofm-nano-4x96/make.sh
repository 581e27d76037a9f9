#!/usr/bin/env bash
# Makes the packaged encoder endofm-nano-4x96: lists pictures, distils, scores, packages. Rerun the command to resume.
# Needs the extras train and distill, and about half an hour of one core.
#
#   ENDOFM_REAL=... ENDOFM_MEDIA=... bash recipes/endofm-nano-4x96/make.sh WORK
#
# ENDOFM_REAL is the folder of real images (docs/real_probes.md). With ENDOFM_MEDIA (a folder of real clips with their
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
python -m studies.real endofm-nano-4x96 untrained:endofm-nano-4x96 --cache "$work/embeddings" -o "$work/probes.json"
python -m studies.real "$work"/curve/step-* --controls --probes polyp-crop bleeding-folds \
    --cache "$work/embeddings" -o "$work/curve.json"
python "$here/curve.py" "$work/run" "$work/curve" --scores "$work/curve.json" --plot docs/images/nano-curve.png
# scores.json holds this file's values for the packaged encoder, and those of the encoder that it replaced.
python "$here/package_weights.py" "$work/run/export" "$packed" --scores "$work/probes.json"
