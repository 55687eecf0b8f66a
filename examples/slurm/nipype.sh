#!/bin/bash
# The run that hands the steps to Slurm by nipype (nipype.yml) is itself a small job.
#
#   export BIDS_DIR=/data/study OUT_DIR=/data/study-harmonized WORK_DIR=/shared/work TARGET=Siemens
#   sbatch nipype.sh nipype.yml
#
#SBATCH --job-name=ihf-harmony-nipype
#SBATCH --cpus-per-task=1
#SBATCH --mem=4G
#SBATCH --time=24:00:00
#SBATCH --output=ihf-harmony-nipype-%j.log
set -euo pipefail

: "${BIDS_DIR:?the dataset}" "${OUT_DIR:?the folder for results}" "${WORK_DIR:?a shared folder}"

# 16 participants are under way at a time, or four for each of --n-procs if that is more.
ihf-harmony "$BIDS_DIR" "$OUT_DIR" participant \
    --target "${TARGET:-Siemens}" \
    --work-dir "$WORK_DIR" \
    --use-plugin "$1" \
    --n-procs 2 --omp-nthreads 2 \
    ${OPTIONS:-}
