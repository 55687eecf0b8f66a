#!/bin/bash
# The participants that still have images to harmonize, one a line.
#
#   ./participants.sh BIDS_DIR OUT_DIR TARGET [OPTION...] > participants.txt
#
# Run it again after a stopped or failed array: who is finished is left out.  The dataset is
# validated here, once, so that the tasks need not do it.  IHF_HARMONY is the command to use, such as
# "apptainer run --cleanenv -B /data ihf-harmony.sif"; by default the one that is installed.
set -euo pipefail
bids=$1 out=$2 target=$3
shift 3

list=$(${IHF_HARMONY:-ihf-harmony} "$bids" "$out" participant --target "$target" --dry-run "$@")
awk -F '\t' '$4 == "harmonize" { sub("/.*", "", $1); print $1 }' <<<"$list" | sort -u
