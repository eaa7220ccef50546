#!/bin/bash
# reproduce.sh - the paper's tables from a machine's own data: runs all stages for every data set that a datasets.conf names
# and sets the results beside the published figures.
#
#   bash jobs/reproduce.sh TABLE --conf=FILE [--out=DIR] [--work=DIR] [--only=NAME,...] [--tables]
#
# TABLE: table1 (zero-shot), table2 (distribution shift), fewshot, poolsize, or all.
# --conf=FILE   data sets, model and index: jobs/reproduce/datasets.conf.in explains every line; copy and edit it
# --out=DIR     TABLE.csv, TABLE.md, TABLE_table.png and .svg, TABLE.png and .svg are written there (results)
# --work=DIR    sets, records and logs (build/reproduce)
# --only=NAME   run stages for these data sets only, and write no tables: for a batch job per data set
# --tables      run nothing: tables of the records that are there
#
# Finished stages are not run again, and an interrupted run resumes. A cell without a record says "no data". Environment: RANKS of the long stages (all cores), THREADS of a rank (1),
# BUILD, the folder of npr's programs (build). On a cluster: slurm/reproduce.sh.
set -euo pipefail
ROOT=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=slurm/env/local.sh
source "$ROOT/slurm/env/local.sh"
# shellcheck source=jobs/stage.sh
source "$ROOT/jobs/stage.sh"
# shellcheck source=jobs/reproduce/main.sh
source "$ROOT/jobs/reproduce/main.sh"
BIN=${BUILD:-$ROOT/build} RANKS=${RANKS:-$(nproc)} THREADS=${THREADS:-1}
npr_whole RANKS THREADS

# launch SIZE NAME PROGRAM OPTIONS...: see stages.sh. mpirun costs a small stage more than it saves.
launch() {
    local size=$1 name=$2 program=$3 ranks=1
    shift 3
    npr_programs "$BIN" BUILD
    [ "$size" = small ] || ranks=$RANKS
    [ "$ranks" != 1 ] || echo "== $name: $program" >&2
    stage "$ranks" "$name" "$program" "$@" --threads="$THREADS"
}

reproduce_main "$@"
