#!/bin/bash
# pipeline.sh - submit stages, each waiting for the one before to succeed; all settings come from site.sh.
#
#   bash slurm/pipeline.sh                 the stages of NPR_STAGES in site.sh
#   bash slurm/pipeline.sh search solve    these (of slurm/stages: minilaion metadata ingest extract index search join solve verify)
#
# Prints one line per job: stage and job number. Logs go to $NPR_WORK/logs, records to $NPR_WORK/records. Running it again
# is safe: stages that are complete say so and end.
set -euo pipefail
case ${1:-} in
-h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" && exit 0 ;;
esac
# shellcheck source=slurm/common.sh
source "$(dirname "$0")/common.sh"

stages=("$@")
((${#stages[@]})) || stages=("${NPR_STAGES[@]}")
for stage in "${stages[@]}"; do
    [ -e "$NPR_ROOT/slurm/stages/$stage.sbatch" ] ||
        npr_fail 64 "no stage \"$stage\" (known: $(cd "$NPR_ROOT/slurm/stages" && echo *.sbatch | sed 's/\.sbatch//g'))"
done

npr_make_work
after=()
for stage in "${stages[@]}"; do
    own=()
    [ "$stage" != metadata ] || own=(--nodes=1 --array="0-$((NPR_NODES - 1))") # a node's share each
    [ "$stage" != solve ] || own=(--nodes="$NPR_SOLVE_NODES")
    job=$(npr_submit "${own[@]}" "${after[@]}" "$NPR_ROOT/slurm/stages/$stage.sbatch")
    echo "$stage $job"
    after=(--dependency="afterok:$job" --kill-on-invalid-dep=yes)
done
