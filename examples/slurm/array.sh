#!/bin/bash
# An array of jobs, one participant each.
#
#   export BIDS_DIR=/data/study OUT_DIR=/data/study-harmonized TARGET=Siemens
#   ./participants.sh "$BIDS_DIR" "$OUT_DIR" "$TARGET" > participants.txt
#   sbatch --array=1-$(wc -l < participants.txt)%100 array.sh                    # CPU
#   sbatch --array=1-$(wc -l < participants.txt)%10 --gpus=1 --mem=8G array.sh   # GPU
#
# IMAGE is an Apptainer image; without it the installed ihf-harmony runs.  CHUNK participants share
# a task, for clusters that allow fewer array tasks than there are participants.
#
#SBATCH --job-name=ihf-harmony
#SBATCH --cpus-per-task=1
#SBATCH --mem=4G
#SBATCH --time=01:00:00
#SBATCH --requeue
#SBATCH --output=ihf-harmony-%A_%a.log
set -euo pipefail

: "${BIDS_DIR:?the dataset}" "${OUT_DIR:?the folder for results}"
first=$(((SLURM_ARRAY_TASK_ID - 1) * ${CHUNK:-1} + 1))
mapfile -t participants < <(tail -n "+$first" "${PARTICIPANTS:-participants.txt}" | head -n "${CHUNK:-1}")

# Intermediate files stay on the node's own disk and go with the task.
work=$(mktemp -d "${SLURM_TMPDIR:-${TMPDIR:-/tmp}}/ihf-harmony.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap : TERM  # the run, which gets the signal too, ends by itself and is waited for
mkdir -p "$OUT_DIR"

device=cpu nvidia=()
if [ -n "${SLURM_JOB_GPUS:-}" ]; then
    device=cuda nvidia=(--nv --env "CUDA_VISIBLE_DEVICES=${CUDA_VISIBLE_DEVICES:-0}")
fi
command=(ihf-harmony "$BIDS_DIR" "$OUT_DIR")
if [ -n "${IMAGE:-}" ]; then
    command=(
        "${APPTAINER:-apptainer}" run --containall --cleanenv --no-home "${nvidia[@]}"
        -B "$BIDS_DIR:/bids:ro" -B "$OUT_DIR:/out" -B "$work:$work" -B "$work:/tmp"
        "$IMAGE" /bids /out
    )
fi

"${command[@]}" participant \
    --participant-label "${participants[@]}" \
    --target "${TARGET:-Siemens}" \
    --device "$device" \
    --n-procs "${SLURM_CPUS_PER_TASK:-1}" \
    --work-dir "$work" \
    --skip-bids-validation \
    ${OPTIONS:-}
