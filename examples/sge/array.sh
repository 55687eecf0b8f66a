#!/bin/bash
# An array of jobs on (Sun, Son of, Univa) Grid Engine, one participant each; see ../slurm/array.sh.
#
#   cd examples/sge
#   ../slurm/participants.sh "$BIDS_DIR" "$OUT_DIR" "$TARGET" > participants.txt
#   qsub -t 1-$(wc -l < participants.txt) -tc 100 array.sh
#
# The name of the memory limit (h_vmem) and of GPUs differ among sites; ask yours.
#
#$ -N ihf-harmony
#$ -cwd
#$ -V
#$ -l h_rt=01:00:00
#$ -l h_vmem=6G
#$ -r y
#$ -j y
set -euo pipefail

export SLURM_ARRAY_TASK_ID=$SGE_TASK_ID SLURM_CPUS_PER_TASK=${NSLOTS:-1}
export SLURM_JOB_GPUS=${CUDA_VISIBLE_DEVICES:-}
exec ../slurm/array.sh
