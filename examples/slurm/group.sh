#!/bin/bash
# The dataset's tables and page, after an array:  sbatch --dependency=afterany:JOB group.sh
#
#SBATCH --job-name=ihf-harmony-group
#SBATCH --mem=4G
#SBATCH --time=00:30:00
#SBATCH --output=ihf-harmony-group-%j.log
set -euo pipefail

: "${BIDS_DIR:?the dataset}" "${OUT_DIR:?the folder for results}"
if [ -n "${IMAGE:-}" ]; then
    "${APPTAINER:-apptainer}" run --containall --cleanenv --no-home \
        -B "$BIDS_DIR:/bids:ro" -B "$OUT_DIR:/out" "$IMAGE" /bids /out group --work-dir /tmp/work
else
    ihf-harmony "$BIDS_DIR" "$OUT_DIR" group
fi
