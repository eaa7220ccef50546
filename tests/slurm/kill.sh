#!/bin/bash
# Kills at random moments on a real Slurm of four nodes: a rank, srun, a slurmd, a whole node, a rank's slurmstepd, or USR1. What Slurm then queues
# again, or else what is submitted again, runs on another number of nodes and ends with the bytes of an undisturbed run.
# NPR_KILLS=30 for more (tests/nightly.sh slurm); NPR_SEED for others.
# shellcheck source=tests/lib.sh
source "$(dirname "$0")/../lib.sh"
((!SANITIZED)) || { echo "kill: it tests scripts; the programs have sanitized tests of their own" && exit 77; }
# shellcheck source=tests/slurm/lib_cluster.sh
source "$(dirname "$0")/lib_cluster.sh"
cluster_needs
cluster_up
tiny=$NPR_SOURCE/tests/data
# shellcheck disable=SC2016 # site.sh expands them
cluster_clone 'NPR_INGEST_OPTIONS=(--part-rows=512)' 'NPR_SEARCH_OPTIONS=(--mode=caption --clip-filter --k=40 --part-rows=256)' \
    'NPR_INDEX_OPTIONS=(--factory=IVF8,SQ8 --sample=2000)' 'NPR_SOLVE_OPTIONS=(--alpha=0.5)' 'NPR_TOWER=${TEST_TOWER:-$NPR_WORK}' \
    '[ -z "${TEST_INDEX_ONLY:-}" ] || NPR_HEAD_EMB= NPR_TEST_EMB=' "NPR_CLIP_WEIGHTS=$tiny/tiny_clip.safetensors" "NPR_CLIP_CONFIG=$tiny/tiny_clip_gelu.json" NPR_CLIP_NAME= \
    "NPR_TEST_IMAGES=$TMP/painted/phrases/test" 'NPR_EXTRACT_OPTIONS=(--part-rows=4)' NPR_NODE_WAIT=30

# ---- the undisturbed runs, without Slurm
must 2 npr-minilaion --embeddings --out=input --rows=12000 --dim=64 --classes=20 --rows-per-file=5000
must 2 npr-minilaion --out=painted --rows=100 --classes=6 --tests=12 --val=2 --shots=2
must 3 npr-ingest --emb=input/img_emb --meta=input/metadata --model=npr-minilaion --part-rows=512 --out=index
must 1 npr-ingest --emb=input/text/head.npy --meta=input/text/head.tsv --kind=head --model=npr-minilaion --out=head
must 1 npr-ingest --emb=input/test/test.npy --labels=input/test/test_labels.txt --kind=test --model=npr-minilaion --out=test
must 3 npr-search --index=index --head=head --names=input/text/classes.txt --mode=caption --clip-filter --k=40 --part-rows=256 --out=pool
must 2 npr-solve --head=head --pool=pool --test=test --alpha=0.5 --out=primed
must 3 npr-extract --images=painted/phrases/test --kind=test --model="$tiny/tiny_clip.safetensors" --config="$tiny/tiny_clip_gelu.json" \
    --part-rows=4 --out=features
cp -r index indexed
mkdir work
must 2 npr-index --set=indexed --factory=IVF8,SQ8 --sample=2000

# ---- stages: what each writes, what it must be, and a place in it that takes a second each time, so that moments fall into the work
stages=(ingest search index solve extract)
declare -A writes=([ingest]=index [search]=pool [index]=index [solve]=primed [extract]=tower/test)
declare -A wanted=([ingest]=index [search]=pool [index]=indexed [solve]=primed [extract]=features)
declare -A slow=([ingest]=ingest.batch@1=slow [search]=search.part@1=slow [solve]=solve.tile@0=slow
    [extract]=extract.batch@1=slow)
victims=(rank srun slurmd node usr1 stepd)

# fresh STAGE: as it is before the stage has run
fresh() {
    rm -rf work/{index,pool,primed,head,test,tower}
    cp -r head test work/
    [ "$1" = ingest ] || cp -r index work/index
    [ "$1" != solve ] || cp -r pool work/pool
}

# submit STAGE NODES: its job's number
submit() {
    local only=''
    [ "$1" != ingest ] || only=1
    TEST_INDEX_ONLY=$only TEST_TOWER=$([ "$1" != extract ] || echo "$TMP/work/tower") TEST_NODES=$2 NPR_FAULT=${slow[$1]:-} pipeline "$1" | cut -d' ' -f2
}

rank_pids() {
    local pid
    for pid in $(pgrep -f "^$BIN/npr-"); do
        ! grep -qszx "SLURM_CONF=$SLURM_CONF" "/proc/$pid/environ" || echo "$pid"
    done
}

# those that ranks are children of
stepd_pids() {
    local pid parent
    for pid in $(rank_pids); do
        parent=$(ps -o ppid= -p "$pid" | tr -d ' ')
        ! grep -qsx slurmstepd "/proc/${parent:-0}/comm" || echo "$parent"
    done
}

# strike VICTIM JOB NODES: what is hit goes to `hit`; a node without slurmd to `down`
strike() {
    local node=node$((RANDOM % $3 + 1)) pids=()
    hit='' down=''
    case $1 in
    rank)
        mapfile -t pids < <(rank_pids)
        ((${#pids[@]} == 0)) || ! kill -9 "${pids[RANDOM % ${#pids[@]}]}" 2>/dev/null || hit="a rank was killed"
        ;;
    srun)
        mapfile -t pids < <(pgrep -f "^srun .*$BIN/npr-")
        ((${#pids[@]} == 0)) || ! kill -9 "${pids[@]}" 2>/dev/null || hit="srun was killed"
        ;;
    stepd) # its rank dies with it, and srun does not hear of it
        mapfile -t pids < <(stepd_pids)
        ((${#pids[@]} == 0)) || ! kill -9 "${pids[RANDOM % ${#pids[@]}]}" 2>/dev/null || hit="a slurmstepd was killed"
        ;;
    slurmd) kill -9 "$(cat "$CLUSTER/slurmd.$node.pid")" && down=$node hit="slurmd of $node was killed" ;;
    node) node_crash "$node" && down=$node hit="$node was lost" ;;
    usr1) ! scancel --batch --signal=USR1 "$2" 2>/dev/null || hit="USR1 was sent" ;;
    esac
}

ended() { [[ $(field "$1" JobState) =~ ^(COMPLETED|FAILED|CANCELLED|TIMEOUT|NODE_FAIL|OUT_OF_MEMORY)$ ]]; }
settled() { ended "$1" || [ "$(field "$1" Restarts)" != 0 ]; }
running() { [ "$(field "$1" JobState)" = RUNNING ] || ended "$1"; }
working() { [ -n "$(rank_pids)" ] || ended "$1"; }
waits() { [ "$(field "$1" JobState)" = PENDING ]; }
answers() { scontrol update nodename="$1" state=resume 2>/dev/null || [[ $(sinfo -h -n "$1" -o %T) =~ ^(idle|mixed|allocated)$ ]]; }

# await SECONDS COMMAND...: until it succeeds; says whether it did
await() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS <= end)) || return 1
        sleep 0.1
    done
}

RANDOM=${NPR_SEED:-20261126}
kills=${NPR_KILLS:-2}
hits=0
start=25 # a slurmd in a search, a node in an index
[ -z "${NPR_SEED:-}" ] || start=$((RANDOM % 30))
for ((round = 1; round <= kills; round++)); do
    # every victim of every stage comes once in 30 rounds
    i=$((round + start)) before=$((RANDOM % 3 + 2)) moment=$((RANDOM % 3)).$((RANDOM % 10))
    stage=${stages[i % 5]} victim=${victims[i % 6]} after=$(((before + RANDOM % 3) % 4 + 1))
    fresh "$stage"
    # Slurm takes minutes to miss a slurmstepd, and the other ranks wait for the one that has died with it: the watchdog ends that
    job=$(TEST_WATCHDOG=$([ "$victim" = stepd ] && echo 10 || echo 1800) submit "$stage" "$before")
    number=$job
    [ "$stage" != ingest ] || job=${job}_0
    await 60 running "$job" || fail "round $round: $stage does not start: $(scontrol show job "$job")"
    [ "$victim" = slurmd ] || await 30 working "$job" || true # else it may be hit before the step begins
    sleep "$moment"
    strike "$victim" "$job" "$before"
    [ -z "$hit" ] || hits=$((hits + 1))
    # killed when the ranks are done, a slurmstepd is waited for by srun itself
    await "$([ "$victim" = stepd ] && echo 300 || echo 40)" settled "$job" || true
    fate="went on"
    if ! ended "$job"; then
        # Slurm has queued it again; it may run on fewer or more nodes then
        fate="was queued again"
        if await 20 waits "$job" && scontrol update jobid="$job" numtasks="$after" numnodes="$after-$after" 2>"$TMP/said"; then
            fate+=" for $after nodes"
        else
            fate+=" (not for $after: $(field "$job" JobState) $(head -n 1 "$TMP/said" 2>/dev/null || true))"
        fi
    fi
    [ -z "$down" ] || node_up "$down"
    [ -z "$down" ] || await 30 answers "$down" || fail "round $round: $down does not come back"
    until_done 120 "$job"
    for _ in 1 2 3; do # what Slurm did not queue again, the user does
        [ "$(field "$job" JobState)" != COMPLETED ] || break
        fate+=", ended with $(field "$job" ExitCode), submitted again for $after nodes"
        job=$(submit "$stage" "$after")
        number=$job
        [ "$stage" != ingest ] || job=${job}_0
        until_done 120 "$job"
    done
    echo "round $round: $stage on $before nodes, after $moment s ${hit:-nothing was hit}: $fate, done on $(field "$job" NumNodes)" >&2
    [ "$(field "$job" JobState)" = COMPLETED ] || fail "round $round: $(log "$number")"
    same "${wanted[$stage]}" "work/${writes[$stage]}" "round $round: $stage"
    [ -z "${KEEP:-}" ] || cp -r work/logs "$KEEP"
done
echo "$hits of $kills hit" >&2
[ "$FAILURES" = 0 ] || tail -n 100 work/logs/*.log >&2
done_with kill
