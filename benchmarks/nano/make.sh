#!/usr/bin/env bash
# Makes a candidate for the encoder to ship: renders the clips, pre-trains on them, scores the result.
# Stopped, the same command goes on.
#
#   bash benchmarks/nano/make.sh WORK
#
# With ENDOFM_MEDIA (a folder of real clips with their licences), windows of the three recordings under the MIT licence
# join the rendered clips.
set -euo pipefail
work=${1:?give a folder for clips and run}
here=$(cd "$(dirname "$0")" && pwd)

render() { endofm data synth "$work/$1" --size 128 --frames 16 "${@:2}"; }
render medium --task pretrain --clips 3000 --patients 200 --seed 202
render large --task pretrain --clips 800 --patients 60 --seed 204 --difficulty 0
render labelled-large --task classification --clips 600 --patients 60 --seed 303 --difficulty 0
render labelled-medium --task classification --clips 800 --patients 60 --seed 101

clips="$work/medium, $work/large"
if [ -n "${ENDOFM_MEDIA:-}" ]; then
    python "$here/real_windows.py" "$ENDOFM_MEDIA/videos" "$work/real.csv"
    clips="$clips, $work/real.csv"
fi
endofm pretrain endofm-nano-4x96 --out "$work/run" "data.clips=[$clips]" "knn.clips=[$work/labelled-large]"
python "$here/evaluate.py" "$work/run/export" "$work/labelled-large" "$work/labelled-medium" --out "$work/scores.json"
