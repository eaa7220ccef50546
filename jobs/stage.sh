# stage.sh - programs run as stages on one machine: what quickstart.sh and reproduce.sh share. Source it after
# slurm/env/local.sh. Needs BIN, the folder of the programs, and OUT, where records and logs go.
# shellcheck shell=bash

# stage RANKS NAME PROGRAM OPTIONS...: run it. The record of the run that did the work is kept: a run that finds all done
# gives the same results but no times worth telling. One rank needs no mpirun.
stage() {
    local ranks=$1 name=$2 program=$3 code=0 record=$OUT/records/$2.txt log=$OUT/logs/$2.log run=("${NPR_ALONE[@]}")
    shift 3
    mkdir -p "${record%/*}" "${log%/*}"
    [ "$ranks" = 1 ] || run=(mpirun -n "$ranks")
    [ "$ranks" = 1 ] || echo "== $name: $program" >&2
    "${run[@]}" "$BIN/$program" "$@" --record="$record.new" 2> >(if [ "$ranks" = 1 ]; then cat >"$log"; else tee "$log" >&2; fi) ||
        code=$?
    ((code == 0)) || sleep 1 # for the log's last lines
    ((code == 0)) || npr_die "$code" "$name failed with exit code $code: $(tail -n 2 "$log")"
    if cmp -s <(facts "$record") <(facts "$record.new"); then
        rm "$record.new"
    else
        mv "$record.new" "$record"
    fi
}

facts() { grep -E '^(option|result|check)\.' "$1" 2>/dev/null || true; }
value() { sed -n "s/^$2=//p" "$OUT/records/$1.txt"; }
