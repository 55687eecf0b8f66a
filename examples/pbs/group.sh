#!/bin/bash
# The dataset's tables and page, after an array:  qsub -V -W depend=afterany:'JOB[]' group.sh
#
#PBS -N ihf-harmony-group
#PBS -l select=1:ncpus=1:mem=4gb
#PBS -l walltime=00:30:00
#PBS -j oe
set -euo pipefail

cd "${PBS_O_WORKDIR:?start it with qsub}"
exec ../slurm/group.sh
