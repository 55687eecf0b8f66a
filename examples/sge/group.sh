#!/bin/bash
# The dataset's tables and page, after an array:  qsub -hold_jid ihf-harmony group.sh
#
#$ -N ihf-harmony-group
#$ -cwd
#$ -V
#$ -l h_rt=00:30:00
#$ -l h_vmem=6G
#$ -j y
set -euo pipefail

exec ../slurm/group.sh
