#!/bin/bash
# reproduce.sh - the paper's tables on a cluster: a job for each data set of a datasets.conf, and one that makes the tables.
#
#   bash slurm/reproduce.sh TABLE --conf=FILE [--out=DIR] [--work=DIR]
#
# TABLE and options are those of jobs/reproduce.sh (see its --help); nodes, ranks, time and account come from site.sh. --work is
# $NPR_WORK/reproduce unless given, --out a folder "results" in it. Shifted sets wait for their base, the tables for all. Prints a line
# per job: data set and job number. A job that reaches its time limit goes on where it stopped; running this again does what is left.
set -euo pipefail
case ${1:-} in
-h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" && exit 0 ;;
esac
# shellcheck source=slurm/common.sh
source "$(dirname "$0")/common.sh"
npr_die() { npr_fail "$@"; }
# shellcheck source=jobs/reproduce/main.sh
source "$NPR_ROOT/jobs/reproduce/main.sh"

npr_make_work
words=(--work="$NPR_WORK/reproduce" --out="$NPR_WORK/reproduce/results")
for arg in "$@"; do
    case $arg in
    --only=* | --tables) npr_fail 64 "$arg is for jobs/reproduce.sh; here every data set has a job" ;;
    --conf=?*) arg=--conf=$(realpath -m "${arg#*=}") ;;
    --out=?* | --work=?*) arg=${arg%%=*}=$(realpath -m "${arg#*=}") ;;
    esac
    words+=("$arg") # the last of an option counts
done
reproduce_options "${words[@]}"

declare -A job_of=()
maker=''
# submit NAME AFTER WORDS...: AFTER: numbers of jobs, or nothing
submit() {
    local name=$1 after=$2 options=()
    shift 2
    [ -z "$after" ] || options=(--dependency="afterok:$after" --kill-on-invalid-dep=yes)
    [ "$name" != tables ] || options+=(--nodes=1 --ntasks-per-node=1)
    job_of[$name]=$(npr_submit --job-name="npr-reproduce-$name" "${options[@]}" "$NPR_ROOT/slurm/reproduce.sbatch" "${words[@]}" "$@")
    echo "$name ${job_of[$name]}"
}

for s in "${conf_sections[@]}"; do
    is_shifted "$s" && continue
    # an index that is made of pictures is made by one job: those that may do it wait for one another
    if has "$s" index_images && ! has "$s" index; then
        submit "$s" "$maker" --only="$s"
        maker=${job_of[$s]}
    else
        submit "$s" '' --only="$s"
    fi
done
for s in "${conf_sections[@]}"; do
    ! is_shifted "$s" || submit "$s" "${job_of[${conf[$s.base]}]}" --only="$s"
done
submit tables "$(IFS=: && echo "${job_of[*]}")" --tables
