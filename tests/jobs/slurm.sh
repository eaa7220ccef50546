#!/bin/bash
# The batch scripts, with programs and Slurm's commands replaced by scripts that note what they were told: exit codes,
# the warning before the time limit, queueing again, the chain of jobs. (On a real Slurm: see slurm/README.md.)
source "$(dirname "$0")/../lib.sh"
((!SANITIZED)) || { echo "slurm: it tests scripts, with other scripts for programs" && exit 77; }
mkdir -p "$TMP/clone" "$TMP/fake" "$TMP/bin"
cp -r "${NPR_SOURCE:?}/slurm" "$TMP/clone/"
{
    cat "$NPR_SOURCE"/slurm/site.sh.in "$NPR_SOURCE"/slurm/site-world.sh.in
    printf '%s\n' "NPR_BIN=$TMP/bin" "NPR_WORK='$TMP/a work'" 'NPR_TOWER=$NPR_WORK' NPR_ACCOUNT=physics NPR_MEM=7G NPR_SOLVE_NODES=2
} >"$TMP/clone/slurm/site.sh"
write() { cat >"$1" && chmod +x "$1"; }
# shellcheck disable=SC2016 # the scripts expand their variables themselves
{
    write "$TMP/fake/srun" <<<'#!/bin/bash
[[ $* != --overlap* ]] || exit "${ASK:-0}"
tasks=none
while [[ $1 == -* ]]; do
    [ "$1" != -n ] || { tasks=$2 && shift; }
    shift
done
echo "$tasks" >"$NOTES.tasks"
exec "$@"'
    write "$TMP/fake/scontrol" <<<'#!/bin/bash
echo "$*" >>"$NOTES"
kill "$PPID"'
    write "$TMP/fake/squeue" <<<'#!/bin/bash
[ -z "${QUEUE:-}" ] || exec printf "$QUEUE"
echo "slurm_load_jobs error: Unable to contact slurm controller" >&2
exit 1'
    write "$TMP/fake/sinfo" <<<'#!/bin/bash
printf "$NODES"'
    write "$TMP/fake/a python" <<<'#!/bin/bash
printf "%s|" "$@" >>"$NOTES"
echo >>"$NOTES"
trap "exit 75" USR1
if [ "$CODE" = wait ]; then for _ in {1..100}; do sleep 0.1; done; fi
exit "$CODE"'
    write "$TMP/bin/npr-verify" <<<'#!/bin/bash
printf "%s|" "$@" >>"$NOTES"
[[ $* != *"$STOP"* ]] || exit 75
for word in "$@"; do [[ $word != --record=* ]] || echo "run.slurm_job=$SLURM_JOB_ID" >"${word#*=}"; done'
    write "$TMP/fake/sbatch" <<<'#!/bin/bash
printf "%s|" "$@" >>"$NOTES"
echo >>"$NOTES"
echo "$(wc -l <"$NOTES");cluster"'
    write "$TMP/bin/npr-solve" <<<'#!/bin/bash
printf "%s|" "$@" >>"$NOTES"
echo >>"$NOTES"
trap "exit 75" USR1
for word in "$@"; do [[ $word != --record=* || $CODE != 0 || -n ${LOST:-} ]] || echo run.ranks=1 >"${word#*=}"; done
if [ "$CODE" = wait ]; then for _ in {1..100}; do sleep 0.1; done; fi
exit "$CODE"'
}
export NOTES=$TMP/notes PATH=$TMP/fake:$PATH NPR_SLURM=$TMP/clone/slurm SLURM_JOB_ID=17

# solve CODE: run the stage whose program ends with CODE (or waits for USR1); output in $TMP/said, exit code in $got
solve() {
    : >"$NOTES"
    got=0
    CODE=$1 timeout 60 bash "$NPR_SLURM/stages/solve.sbatch" >"$TMP/said" 2>&1 || got=$?
}

solve 0
[ "$got" = 0 ] && grep -q "solve is done" "$TMP/said" || fail "a stage that ends well: $got $(cat "$TMP/said")"
[ -s "$TMP/a work/records/solve.txt" ] || fail "no record: $(ls "$TMP/a work/records")"
grep -qF -- "--record=$TMP/a work/records/solve.txt.new|--watchdog=1800|--head=$TMP/a work/head|" "$NOTES" || fail "options: $(cat "$NOTES")"

# ranks: of the nodes that the job has now, whatever number of tasks Slurm still tells; a number of the user's own stays
ranks_of() { # WANTED WHAT
    solve 0
    [ "$got $(cat "$NOTES.tasks")" = "0 $1" ] || fail "$2: $got, $(cat "$NOTES.tasks") ranks, wanted $1: $(cat "$TMP/said")"
    [ "$1" = none ] || grep -q " npr-solve on $1 ranks of 3 nodes" "$TMP/said" || fail "$2: $(cat "$TMP/said")"
}
ranks_of none "outside of a job"
export SLURM_JOB_NUM_NODES=3 SLURM_NTASKS=32
ranks_of 32 "a job without ranks per node"
export SLURM_NTASKS_PER_NODE=8
ranks_of 24 "a job queued again on fewer nodes"
for own in --ntasks=20 -n20 "--ntasks 20"; do
    echo "NPR_SBATCH=($own)" >>"$NPR_SLURM/site.sh"
    SLURM_NTASKS=20 ranks_of 20 "ranks of NPR_SBATCH=($own)"
done
echo "NPR_SBATCH=(--ntasks-per-socket=4)" >>"$NPR_SLURM/site.sh"
ranks_of 24 "other options of NPR_SBATCH"
echo "NPR_SBATCH=()" >>"$NPR_SLURM/site.sh"
unset SLURM_JOB_NUM_NODES SLURM_NTASKS SLURM_NTASKS_PER_NODE

# extract: what site.sh names, and nothing else
cp "$TMP/bin/npr-solve" "$TMP/bin/npr-extract"
: >"$NOTES"
CODE=0 timeout 60 bash "$NPR_SLURM/stages/extract.sbatch" >"$TMP/said" 2>&1 && fail "extract of nothing"
grep -q "nothing to extract" "$TMP/said" || fail "extract of nothing: $(cat "$TMP/said")"
printf '%s\n' NPR_CLIP_WEIGHTS=w NPR_CLIP_CONFIG=c NPR_CLIP_TEMPLATES=t NPR_TEST_IMAGES='"two words"' NPR_CLIP_NAME= >>"$NPR_SLURM/site.sh"
CODE=0 timeout 60 bash "$NPR_SLURM/stages/extract.sbatch" >"$TMP/said" 2>&1 || fail "extract: $(cat "$TMP/said")"
[ "$(wc -l <"$NOTES")" = 2 ] || fail "extract runs $(cat "$NOTES")"
grep -q -- '|--threads=8|--classes=.*|--templates=t|--out=.*/head|' "$NOTES" || fail "the head's options: $(cat "$NOTES")"
grep -q -- '|--images=two words|--kind=test|' "$NOTES" || fail "the test's options: $(cat "$NOTES")"
grep -q -- '--model-name\|--prompts\|kind=index' "$NOTES" && fail "options of what is not there: $(cat "$NOTES")"
sed -i '/^NPR_CLIP_NAME=$/d' "$NPR_SLURM/site.sh"

solve 65
[ "$got" = 65 ] && grep -q "input is damaged" "$TMP/said" || fail "a stage that fails: $got $(cat "$TMP/said")"
SLURM_JOB_NUM_NODES=1 LOST=1 solve 0 # srun that lost its step ends with 0 too
[ "$got" = 137 ] && grep -q "ended without a record" "$TMP/said" || fail "a step without a record: $got $(cat "$TMP/said")"

# what a step says, and what of it is left for people
cat >"$TMP/raw" <<'END'
12:00:00 npr-search: scan  50 %
srun: error: node3: task 2: Killed
srun: launch/slurm: _step_signal: Terminating StepId=7.0
slurmstepd-node1: error: *** STEP 7.0 ON node1 CANCELLED AT 2026-11-26T08:09:30 ***
--------------------------------------------------------------------------
WARNING: Open MPI failed to TCP connect to a peer MPI process.  This
should not happen.
12:00:01 npr-search: a line amid the box

  Local host: vm
  Message:    connect() to 127.0.0.1:1039 failed
  Error:      Operation now in progress (115)
--------------------------------------------------------------------------
--------------------------------------------------------------------------
No network interfaces were found for out-of-band communications.
--------------------------------------------------------------------------
srun: Job step aborted: Waiting up to 5 seconds for job step to finish.
srun: error: node1: task 0: Exited with exit code 75
srun: error: node2: task 1: Killed
slurmstepd-node1: error: *** STEP 7.0 ON node1 CANCELLED AT 2026-11-26T08:09:30 DUE TO TIME LIMIT ***
not the end of a line
END
(set +u && source "$NPR_SLURM/common.sh" && npr_readable <"$TMP/raw") >"$TMP/out" 2>"$TMP/read"
same "$TMP/read" - "the readable log" <<'END'
12:00:00 npr-search: scan  50 %
srun: error: node3: task 2: Killed
12:00:01 npr-search: a line amid the box
Open MPI: a peer is gone: connect() to 127.0.0.1:1039 failed: Operation now in progress (115)
--------------------------------------------------------------------------
No network interfaces were found for out-of-band communications.
--------------------------------------------------------------------------
slurmstepd-node1: error: *** STEP 7.0 ON node1 CANCELLED AT 2026-11-26T08:09:30 DUE TO TIME LIMIT ***
not the end of a line
END

solve 75
grep -q "requeue 17" "$NOTES" || fail "a stage that stopped early is not queued again: $(cat "$NOTES" "$TMP/said")"

: >"$NOTES"
CODE="wait" bash "$NPR_SLURM/stages/solve.sbatch" >"$TMP/said" 2>&1 &
until [ -s "$NOTES" ]; do sleep 0.1; done
sleep 0.3 # the program sets its trap
kill -USR1 $!
wait $! || true
grep -q "asked to stop: passing it on" "$TMP/said" && grep -q "requeue 17" "$NOTES" ||
    fail "USR1 is not passed on: $(cat "$TMP/said" "$NOTES")"

# a task of an array is not the whole array; too often is enough
SLURM_ARRAY_JOB_ID=17 SLURM_ARRAY_TASK_ID=2 solve 75
grep -qx "requeue 17_2" "$NOTES" || fail "a task of an array: $(cat "$NOTES" "$TMP/said")"
SLURM_RESTART_COUNT=49 solve 75
grep -qx "requeue 17" "$NOTES" || fail "49 restarts: $(cat "$NOTES" "$TMP/said")"
SLURM_RESTART_COUNT=50 solve 75
[ "$got" = 75 ] && ! grep -q requeue "$NOTES" && grep -q "NPR_RESTARTS in site.sh allows no more: finished work is kept" "$TMP/said" ||
    fail "50 restarts: $got $(cat "$NOTES" "$TMP/said")"

# shell CODE COMMANDS: in a script like those of reproduce.sbatch; output in $TMP/said, exit code in $got
shell() {
    : >"$NOTES"
    got=0
    CODE=$1 timeout 60 bash -euo pipefail -c "source '$NPR_SLURM/common.sh'; $2" >"$TMP/said" 2>&1 || got=$?
}
shell 0 'npr_requeue "asked"'
grep -qx "requeue 17" "$NOTES" || fail "slurmctld is busy: $got $(cat "$TMP/said")"
# shellcheck disable=SC2016 # the other shell expands them
{
    shell 0 'kill -USR1 $$; npr_stage early npr-solve'
    grep -q "asked to stop before early" "$TMP/said" && grep -qx "requeue 17" "$NOTES" || fail "USR1 before a stage: $got $(cat "$TMP/said")"
    shell 0 'npr_modules() { kill -USR1 $$; }; npr_stage early npr-solve'
    grep -q "early stopped early" "$TMP/said" && [ "$(cat "$NOTES")" = "requeue 17" ] || fail "USR1 before a step: $got $(cat "$TMP/said")"
    # modules that are not written for set -eu, in scripts that are; in these it holds again afterwards
    loose='npr_modules() { [ "$NOT_THERE" ]; false; }'
    shell 0 "$loose"'; npr_stage loaded npr-solve; [[ $- == *e*u* ]] && npr_say "still set"'
    [ "$got" = 0 ] && grep -q "loaded is done" "$TMP/said" && grep -q "still set" "$TMP/said" || fail "loose modules: $got $(cat "$TMP/said")"
    cp "$NPR_SLURM/site.sh" "$TMP/site"
    echo "$loose" >>"$NPR_SLURM/site.sh"
    solve 0
    [ "$got" = 0 ] || fail "loose modules in a stage: $got $(cat "$TMP/said")"
    got=0
    CODE=0 bash "$NPR_SLURM/scaling.sbatch" loose "$TMP/loose" npr-solve >"$TMP/said" 2>&1 || got=$?
    [ "$got" = 0 ] && grep -q "loose is measured" "$TMP/said" || fail "loose modules in scaling.sbatch: $got $(cat "$TMP/said")"
    echo 'npr_modules() { echo "loaded $NOT_THERE" >>"$NOTES"; false; }' >>"$NPR_SLURM/site.sh"
    : >"$NOTES"
    CODE=0 bash "$NPR_SLURM/scaling.sh" strong solve 1 --here >"$TMP/said" 2>&1 || fail "loose modules with --here: $(cat "$TMP/said")"
    [ "$(grep -c '^loaded ' "$NOTES") $(grep -c -- '--head=' "$NOTES")" = "1 1" ] || fail "modules with --here: $(cat "$NOTES")"
    cp "$TMP/site" "$NPR_SLURM/site.sh"
}

# a step that was killed: what srun says of the nodes counts only if Slurm misses one, or srun hangs
echo NPR_NODE_WAIT=0 >>"$NPR_SLURM/site.sh"
export SLURM_JOB_NUM_NODES=2 SLURM_JOB_NODELIST=node[1-2]
ASK=1 NODES='allocated\nmixed\n' solve 139
[ "$got" = 139 ] && ! grep -q requeue "$NOTES" && grep -q "Slurm misses no node" "$TMP/said" || fail "srun fails: $got $(cat "$TMP/said")"
for state in 'down' 'allocated*'; do
    ASK=1 NODES="mixed\n$state\n" solve 139
    grep -qx "requeue 17" "$NOTES" || fail "a node is $state: $got $(cat "$TMP/said")"
done
ASK=124 NODES='mixed\n' solve 139
grep -qx "requeue 17" "$NOTES" || fail "a node does not answer: $got $(cat "$TMP/said")"
unset SLURM_JOB_NUM_NODES SLURM_JOB_NODELIST

# another writer: 9 is also the number of an array, whose other tasks do not count
mkdir -p "$TMP/a work/primed/.work"
echo "host h, process 1, job 9" >"$TMP/a work/primed/.work/lock"
QUEUE='8 RUNNING\n9 RUNNING\n' solve 0
[ "$got" = 73 ] && grep -q "written by job 9;" "$TMP/said" || fail "a second writer: $got $(cat "$TMP/said")"
QUEUE='8 RUNNING\n9 PENDING\n' solve 0
[ "$got" = 0 ] || fail "a writer that does not run: $got $(cat "$TMP/said")"
rm -r "$TMP/a work/primed"

# verify keeps nothing of half a set: it is queued again only after a whole one, which is not checked again
verify() {
    : >"$NOTES"
    got=0
    STOP=$1 timeout 60 bash "$NPR_SLURM/stages/verify.sbatch" >"$TMP/said" 2>&1 || got=$?
}
mkdir "$TMP/a work/index" "$TMP/a work/head"
touch "$TMP/a work/index/manifest.json" "$TMP/a work/head/manifest.json"
verify /index
[ "$got" = 75 ] && ! grep -q requeue "$NOTES" && grep -q "raise NPR_TIME or NPR_NODES" "$TMP/said" || fail "verify: $got $(cat "$TMP/said")"
verify /head
grep -q "requeue 17" "$NOTES" || fail "verify of a set: $got $(cat "$TMP/said")"
SLURM_RESTART_COUNT=1 verify /head
[ "$got" = 75 ] && ! grep -q "requeue\|/index" "$NOTES" && grep -q "verify-index: done before" "$TMP/said" || fail "verify again: $got $(cat "$TMP/said")"
SLURM_RESTART_COUNT=1 SLURM_JOB_ID=18 verify nothing
[ "$got" = 0 ] && grep -q "/index" "$NOTES" || fail "verify by another job: $got $(cat "$TMP/said")"

# words before every program
echo "NPR_PREFIX=(env 'MARK=two words')" >>"$NPR_SLURM/site.sh"
write "$TMP/bin/npr-marked" <<<'#!/bin/bash
[ "$MARK" = "two words" ] || exit 65
for word in "$@"; do [[ $word != --record=* ]] || echo "run.ranks=1" >"${word#*=}"; done'
shell 0 'npr_stage marked npr-marked'
[ "$got" = 0 ] || fail "NPR_PREFIX: $got $(cat "$TMP/said")"
echo "NPR_PREFIX=()" >>"$NPR_SLURM/site.sh"
shell 0 'npr_stage marked npr-marked'
[ "$got" = 65 ] || fail "NPR_PREFIX is empty: $got $(cat "$TMP/said")"

# metadata: a folder with a space in its name; it ends as any stage
mkdir "$TMP/the parquet"
touch "$TMP/the parquet/"{a,b}.parquet
printf '%s\n' "NPR_PARQUET='$TMP/the parquet/*.parquet'" "NPR_PYTHON='$TMP/fake/a python'" "NPR_TSV='$TMP/the text'" \
    'npr_modules() { [ "$NOT_THERE" ]; false; }' >>"$NPR_SLURM/site.sh"
metadata() { # CODE
    : >"$NOTES"
    CODE=$1 SLURM_ARRAY_TASK_ID=1 SLURM_ARRAY_TASK_COUNT=2 SLURM_ARRAY_JOB_ID=17 exec bash "$NPR_SLURM/stages/metadata.sbatch" >"$TMP/said" 2>&1
}
(metadata 0) || fail "metadata: $(cat "$TMP/said")"
grep -qF "|--jobs=64|--out=$TMP/the text|$TMP/the parquet/b.parquet|" "$NOTES" || fail "metadata: $(cat "$NOTES" "$TMP/said")"
got=0
(metadata 65) || got=$?
[ "$got" = 65 ] && ! grep -q requeue "$NOTES" && grep -q "metadata failed with exit code 65" "$TMP/said" || fail "metadata, 65: $got $(cat "$TMP/said")"
metadata wait &
until [ -s "$NOTES" ]; do sleep 0.1; done
sleep 0.3 # it sets its trap
kill -USR1 $!
wait $! || true
grep -q "metadata stopped early" "$TMP/said" && grep -qx "requeue 17_1" "$NOTES" || fail "metadata at its time limit: $(cat "$TMP/said" "$NOTES")"

# refused COMMAND...: with 64
refused() {
    got=0
    bash "$@" >"$TMP/said" 2>&1 || got=$?
    [ "$got" = 64 ] || fail "$got of $*: $(cat "$TMP/said")"
}
refused "$NPR_SLURM/scaling.sh" weak solve "1 2"
refused "$NPR_SLURM/scaling.sh" strong solve "1 2" --her
refused "$NPR_SLURM/scaling.sh" strong solve "1 2" --here more
mkdir "$TMP/simulated"
echo study,network,ranks >"$TMP/simulated/simulated.csv"
got=0
bash "$NPR_SOURCE/slurm/simulate.sh" "$TMP/simulated" merge fattree100 1 >"$TMP/said" 2>&1 || got=$?
[ "$got" = 65 ] && grep -q "other columns" "$TMP/said" || fail "simulated.csv of before: $got $(cat "$TMP/said")"

: >"$NOTES"
bash "$NPR_SLURM/pipeline.sh" --unchecked ingest search solve >"$TMP/jobs"
[ "$(tr '\n' ' ' <"$TMP/jobs")" = "ingest 1 search 2 solve 3 " ] || fail "jobs: $(cat "$TMP/jobs")"
[ "$(grep -c -- '--mem=7G|--account=physics|' "$NOTES")" = 3 ] || fail "memory, account: $(cat "$NOTES")"
grep -q -- '|--nodes=2|.*solve\.sbatch' "$NOTES" && ! grep -q -- '|--nodes=2|.*search\.sbatch' "$NOTES" || fail "nodes of solve: $(cat "$NOTES")"
grep -q -- '--dependency=afterok:2|.*solve\.sbatch' "$NOTES" || fail "the chain: $(cat "$NOTES")"
grep -q -- '--dependency.*ingest\.sbatch' "$NOTES" && fail "the first stage waits for nothing: $(cat "$NOTES")"

# ingest: a task for each that site.sh names vectors for
cp "$NPR_SLURM/site.sh" "$TMP/site"
array() { # WANTED LINE
    cat "$TMP/site" - >"$NPR_SLURM/site.sh" <<<"$2"
    : >"$NOTES"
    bash "$NPR_SLURM/pipeline.sh" --unchecked ingest >"$TMP/jobs"
    grep -qF -- "|--array=$1|" "$NOTES" || fail "ingest with $2: $(cat "$NOTES")"
}
array 0,1,2 ""
array 0 "NPR_HEAD_EMB= NPR_TEST_EMB="
array 0,2 "NPR_HEAD_EMB="
array 1 "NPR_EMB= NPR_TEST_EMB="
echo "NPR_EMB= NPR_HEAD_EMB= NPR_TEST_EMB=" >>"$NPR_SLURM/site.sh"
: >"$NOTES"
refused "$NPR_SLURM/pipeline.sh" --unchecked minilaion ingest
[ ! -s "$NOTES" ] || fail "queued all the same: $(cat "$NOTES")"
bash "$NPR_SLURM/pipeline.sh" --unchecked search >"$TMP/jobs" || fail "search needs no vectors of site.sh"
cp "$TMP/site" "$NPR_SLURM/site.sh"
bash "$NPR_SLURM/pipeline.sh" nonsense >"$TMP/said" 2>&1 && fail "an unknown stage is taken"
sed "/^NPR_TOWER=/d" "$NPR_SLURM/site.sh" >"$TMP/old" && cp "$TMP/old" "$NPR_SLURM/site.sh"
bash "$NPR_SLURM/pipeline.sh" >"$TMP/said" 2>&1 && fail "a site.sh of before is taken"
grep -q "site.sh does not set NPR_TOWER" "$TMP/said" || fail "a site.sh of before: $(cat "$TMP/said")"
names() { sed -n 's/^\(NPR_[A-Z_]*\)=.*/\1/p' "$NPR_SOURCE/slurm/$1"; }
same <(names site-laion.sh.in) <(names site-world.sh.in) "the names of site-laion.sh.in and site-world.sh.in"
rm "$NPR_SLURM/site.sh"
bash "$NPR_SLURM/pipeline.sh" >"$TMP/said" 2>&1 && fail "without site.sh it goes on"
grep -q "cat slurm/site.sh.in slurm/site-laion.sh.in" "$TMP/said" || fail "without site.sh: $(cat "$TMP/said")"
for script in pipeline reproduce scaling; do
    bash "$NPR_SLURM/$script.sh" --help >"$TMP/said" 2>&1 && grep -q "^ *bash slurm/$script.sh" "$TMP/said" ||
        fail "$script.sh --help without site.sh: $(cat "$TMP/said")"
done

if command -v shellcheck >/dev/null; then
    (cd "$NPR_SOURCE" && shellcheck -x slurm/*.sh slurm/*.sbatch slurm/stages/*.sbatch slurm/site*.sh.in slurm/env/*.sh jobs/*.sh tests/run.sh) ||
        fail "shellcheck"
fi
done_with slurm
