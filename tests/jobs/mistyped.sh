#!/bin/bash
# What is mistyped to a script of jobs/ or slurm/, or in site.sh: one sentence and its exit code before any work, and nothing made.
# shellcheck source=tests/lib.sh
source "$(dirname "$0")/../lib.sh"
((!SANITIZED)) || { echo "mistyped: it tests scripts" && exit 77; }
cd "$TMP"
source=${NPR_SOURCE:?}

# says CODE WORDS COMMAND...: it ends with this code and says this in its only line that is ours
says() {
    local want=$1 words=$2 got=0 script
    shift 2
    for script; do [[ $script != *.sh && $script != *.sbatch ]] || break; done
    script=${script##*/}
    timeout 60 "$@" >out 2>err </dev/null || got=$?
    [ "$got" = "$want" ] || fail "exit code $got, wanted $want: $*: $(head -3 err)"
    [ "$(grep -c "^$script: " err) $(grep -cF -- "$words" err)" = "1 1" ] || fail "wanted \"$words\" once: $*: $(head -5 err)"
}

# ---- jobs
quick=(env OUT="$TMP/quick" BUILD="$BIN")
says 64 "RANKS=0: wanted a whole number of at least 1" "${quick[@]}" RANKS=0 bash "$source/jobs/quickstart.sh"
says 64 "RANKS=many: wanted a whole number" "${quick[@]}" RANKS=many bash "$source/jobs/quickstart.sh"
says 64 "unknown option --fast" "${quick[@]}" bash "$source/jobs/quickstart.sh" --fast
says 66 "MODEL=/nowhere: has no model.safetensors" "${quick[@]}" MODEL=/nowhere bash "$source/jobs/quickstart.sh"
says 73 "OUT=/proc/x: cannot make this folder" "${quick[@]}" OUT=/proc/x bash "$source/jobs/quickstart.sh"
says 78 "/nowhere has no npr-search: build npr, or say in BUILD" "${quick[@]}" BUILD=/nowhere bash "$source/jobs/quickstart.sh"
[ -z "$(ls quick)" ] || fail "quickstart.sh wrote $(ls quick)"

paper=(env BUILD="$BIN" bash "$source/jobs/reproduce.sh" all --work="$TMP/paper" --out="$TMP/tables")
mkdir folder
says 66 "folder: no such file" "${paper[@]}" --conf=folder
says 66 "nowhere.conf: no such file" "${paper[@]}" --conf=nowhere.conf
says 64 "THREADS=x: wanted a whole number" env THREADS=x "${paper[@]:1}" --conf=nowhere.conf
says 64 "unknown table or option --cnf=x" "${paper[@]}" --cnf=x

forecast=(env NPR_BIN="$BIN" bash "$source/jobs/forecast.sh")
says 64 "unknown option --ranks=2" "${forecast[@]}" --ranks=2
says 64 'rows: wanted a whole number of at least 1, found "2e5"' "${forecast[@]}" "$TMP/forecast" 2e5
says 64 '"more words" is too much' "${forecast[@]}" "$TMP/forecast" 1000 64 more words
says 64 'ranks: wanted a whole number of at least 1, found "0"' env NPR_RANKS=0 "${forecast[@]}" "$TMP/forecast" 1000 64
says 73 "/proc/x: cannot make a folder in it" "${forecast[@]}" /proc/x 1000 64
says 78 "/nowhere has no npr-search" env NPR_BIN=/nowhere "${forecast[@]:2}" "$TMP/forecast"
[ ! -e forecast ] || fail "forecast.sh made its folder"

# ---- slurm, with an sbatch that takes every job
mkdir -p fake clone
cp -r "$source/slurm" clone/
ln -s "$source/jobs" "$source/tests" clone/
printf '#!/bin/bash\necho 17\n' >fake/sbatch
chmod +x fake/sbatch
PATH=$TMP/fake:$PATH
unset SLURM_JOB_ID
site() { # LINES...: site.sh ends with them
    { cat clone/slurm/site.sh.in clone/slurm/site-world.sh.in && printf '%s\n' "NPR_BIN=$BIN" "NPR_WORK='$TMP/a work'" "$@"; } >clone/slurm/site.sh
}
pipeline=(bash clone/slurm/pipeline.sh)
scaling=(bash clone/slurm/scaling.sh)
rm -f clone/slurm/site.sh
says 78 "site.sh is missing" "${pipeline[@]}"
site
says 64 'no stage "serch"' "${pipeline[@]}" serch
says 64 'no stage "../stages/search"' "${pipeline[@]}" ../stages/search
site 'NPR_STAGES=()'
says 78 "NPR_STAGES in site.sh names no stage" "${pipeline[@]}"
# shellcheck disable=SC2016 # site.sh expands it
for line in 'if then' 'modul load gcc' 'exit 3' ': $nowhere'; do
    site "$line"
    says 78 "slurm/site.sh ended before its last line" "${pipeline[@]}"
done
site
says 64 "search runs in a job of Slurm" env NPR_SLURM="$TMP/clone/slurm" bash clone/slurm/stages/search.sbatch
says 64 'unknown study "strng" (known: strong weak table' "${scaling[@]}" strng search 1
says 64 "scaling of which stage?" "${scaling[@]}" strong
says 64 "which numbers of nodes?" "${scaling[@]}" strong search
says 64 "a table of which folder" "${scaling[@]}" table
says 66 "folder: no record is there" "${scaling[@]}" table folder
says 66 "/nowhere/x.conf: no such file" bash clone/slurm/reproduce.sh all --conf=/nowhere/x.conf
says 64 "--conf=FILE is missing" bash clone/slurm/reproduce.sh all --conf=
printf '#!/bin/bash\necho "sbatch: error: invalid partition" >&2\nexit 1\n' >fake/sbatch
says 78 "sbatch does not take this job" "${pipeline[@]}" minilaion

simulate=(bash clone/slurm/simulate.sh)
says 64 'unknown study "mrge"' "${simulate[@]}" simulated mrge
says 64 'unknown network "tree"' "${simulate[@]}" simulated merge tree
says 64 '"2048" is no number of ranks' "${simulate[@]}" simulated merge fattree100 2048
says 64 "unknown option --help-me" "${simulate[@]}" --help-me
[ ! -e simulated ] || fail "simulate.sh made its folder"
done_with mistyped
