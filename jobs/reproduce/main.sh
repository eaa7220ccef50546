# main.sh - what jobs/reproduce.sh and slurm/reproduce.sbatch share: options, data sets in turn, tables. The one who sources it
# has `launch` (stages.sh) and BIN.
# shellcheck shell=bash

REPRODUCE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
REPRODUCE_TABLES=(table1 table2 fewshot poolsize)
# shellcheck source=jobs/reproduce/config.sh
source "$REPRODUCE/config.sh"
# shellcheck source=jobs/reproduce/stages.sh
source "$REPRODUCE/stages.sh"
# shellcheck source=jobs/reproduce/cells.sh
source "$REPRODUCE/cells.sh"
# shellcheck source=jobs/reproduce/render.sh
source "$REPRODUCE/render.sh"

# reproduce_options ARGS...: to tables, OUT, RESULTS, only and run
reproduce_options() {
    local arg conf_path='' known
    tables=() only='' run=1 RESULTS=$REPRODUCE/../../results OUT=$REPRODUCE/../../build/reproduce
    for arg in "$@"; do
        case $arg in
        --conf=*) conf_path=${arg#*=} ;;
        --out=*) RESULTS=${arg#*=} ;;
        --work=*) OUT=${arg#*=} ;;
        --only=*) only=${arg#*=} ;;
        --tables) run=0 ;;
        -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" && exit 0 ;;
        all) tables=("${REPRODUCE_TABLES[@]}") ;;
        *)
            known=" ${REPRODUCE_TABLES[*]} all "
            [[ $known == *" $arg "* ]] || npr_die 64 "unknown table or option $arg (tables:$known; see --help)"
            tables+=("$arg")
            ;;
        esac
    done
    ((${#tables[@]})) || npr_die 64 "which table? one of ${REPRODUCE_TABLES[*]}, or all (see --help)"
    [ -n "$conf_path" ] || npr_die 64 "--conf=FILE is missing: copy jobs/reproduce/datasets.conf.in and edit it"
    mkdir -p "$OUT/records" "$OUT/logs" "$RESULTS" || npr_die 73 "cannot make $OUT or $RESULTS"
    OUT=$(cd "$OUT" && pwd) RESULTS=$(cd "$RESULTS" && pwd)
    conf_read "$conf_path"
    conf_check
}

# Is the data set one of --only? Without it all are.
is_wanted() { [ -z "$only" ] || [[ ",$only," == *",$1,"* ]]; }

reproduce_main() {
    local tables only run s t
    reproduce_options "$@"
    for t in ${only//,/ }; do
        [ -n "${conf_line[$t.]:-}" ] || npr_die 64 "--only: $conf_file has no data set [$t]"
    done
    for s in "${conf_sections[@]}"; do
        if ((!run)) || ! is_wanted "$s"; then continue; fi
        for t in "${tables[@]}"; do "stages_$t" "$s"; done
    done
    ((!run)) || echo "== $STEPS_RUN stages run, $STEPS_DONE found done" >&2
    [ -z "$only" ] || return 0
    for t in "${tables[@]}"; do
        for s in "${conf_sections[@]}"; do "cells_$t" "$s"; done | beside_paper "$t" "$(get '' note)" >"$RESULTS/$t.csv.new"
        mv "$RESULTS/$t.csv.new" "$RESULTS/$t.csv"
        render "$t"
        echo "$RESULTS/$t.csv"
    done
}
