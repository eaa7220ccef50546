#!/bin/bash
# pipeline.sh - submit stages, each waiting for the one before to succeed; all settings come from site.sh.
#
#   bash slurm/pipeline.sh                 the stages of NPR_STAGES in site.sh
#   bash slurm/pipeline.sh search solve    these (of slurm/stages: minilaion metadata ingest extract index search join solve transduce
#                                          verify)
#   bash slurm/pipeline.sh --check ...     look whether they can run, and queue nothing: programs start, inputs are there or made by a stage before
#   bash slurm/pipeline.sh --unchecked ... queue them without looking, where the login node sees less than the nodes do
#
# Prints one line per job: stage and job number. Logs go to $NPR_WORK/logs, records to $NPR_WORK/records. Running it again
# is safe: stages that are complete say so and end.
set -euo pipefail
case ${1:-} in
-h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" && exit 0 ;;
esac
# shellcheck source=slurm/common.sh
source "$(dirname "$0")/common.sh"

check=1 submit=1
case ${1:-} in
--check) submit=0 && shift ;;
--unchecked) check=0 && shift ;;
-*) npr_fail 64 "unknown option $1 (known: --check, --unchecked, --help)" ;;
esac
stages=("$@")
((${#stages[@]})) || stages=("${NPR_STAGES[@]}")
((${#stages[@]})) || npr_fail 78 "NPR_STAGES in site.sh names no stage"
for stage in "${stages[@]}"; do
    [[ $stage != */* && -e $NPR_ROOT/slurm/stages/$stage.sbatch ]] ||
        npr_fail 64 "no stage \"$stage\" (known: $(cd "$NPR_ROOT/slurm/stages" && echo *.sbatch | sed 's/\.sbatch//g'))"
done

# ingest is an array of what site.sh names vectors for: the index, the head, the test set
ingests=()
[ -z "$NPR_EMB" ] || ingests+=(0)
[ -z "$NPR_HEAD_EMB" ] || ingests+=(1)
[ -z "$NPR_TEST_EMB" ] || ingests+=(2)
((${#ingests[@]})) || [[ " ${stages[*]} " != *" ingest "* ]] ||
    npr_fail 64 "ingest: NPR_EMB, NPR_HEAD_EMB and NPR_TEST_EMB in site.sh are all empty"

# shellcheck source=slurm/preflight.sh
source "$NPR_ROOT/slurm/preflight.sh"
((!check)) || npr_preflight "${stages[@]}"
((submit)) || { npr_say "${stages[*]}: programs start, inputs are there or made on the way" && exit 0; }

npr_make_work
after=()
for stage in "${stages[@]}"; do
    own=()
    [ "$stage" != metadata ] || own=(--nodes=1 --array="0-$((NPR_NODES - 1))") # a node's share each
    [ "$stage" != ingest ] || own=(--array="$(IFS=, && echo "${ingests[*]}")")
    [[ $stage != solve && $stage != transduce ]] || own=(--nodes="$NPR_SOLVE_NODES")
    job=$(npr_submit "${own[@]}" "${after[@]}" "$NPR_ROOT/slurm/stages/$stage.sbatch")
    echo "$stage $job"
    after=(--dependency="afterok:$job" --kill-on-invalid-dep=yes)
done
