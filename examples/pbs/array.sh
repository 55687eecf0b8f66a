#!/bin/bash
# An array of jobs on PBS Professional or OpenPBS, one participant each; see ../slurm/array.sh, which it runs.
#
#   cd examples/pbs
#   ../slurm/participants.sh "$BIDS_DIR" "$OUT_DIR" "$TARGET" > participants.txt
#   qsub -V -J 1-$(wc -l < participants.txt)%100 array.sh                                            # CPU
#   qsub -V -J 1-$(wc -l < participants.txt)%10 -l select=1:ncpus=1:ngpus=1:mem=8gb array.sh         # GPU
#
# PBS refuses an array of a single job: for one participant, qsub -V -v PBS_ARRAY_INDEX=1 array.sh
#
#PBS -N ihf-harmony
#PBS -l select=1:ncpus=1:mem=4gb
#PBS -l walltime=01:00:00
#PBS -r y
#PBS -j oe
set -euo pipefail

cd "${PBS_O_WORKDIR:?start it with qsub}"
export SLURM_ARRAY_TASK_ID=$PBS_ARRAY_INDEX SLURM_CPUS_PER_TASK=${NCPUS:-1}
export SLURM_JOB_GPUS=${CUDA_VISIBLE_DEVICES:-}
exec ../slurm/array.sh
