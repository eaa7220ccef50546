#!/bin/bash
# The batch scripts on a real Slurm of four nodes: the pipeline gives the bytes of a local run; time limits, lost nodes, failures, a
# second writer and a hang end as slurm/README.md says.
# shellcheck source=tests/lib.sh
source "$(dirname "$0")/../lib.sh"
((!SANITIZED)) || { echo "cluster: it tests scripts; the programs have sanitized tests of their own" && exit 77; }
# shellcheck source=tests/slurm/lib_cluster.sh
source "$(dirname "$0")/lib_cluster.sh"
cluster_needs
cluster_up
cluster_clone 'NPR_MINILAION_OPTIONS=(--embeddings --rows=12000 --dim=64 --classes=20 --rows-per-file=5000)' \
    'NPR_INGEST_OPTIONS=(--part-rows=512)' 'NPR_SEARCH_OPTIONS=(--mode=caption --clip-filter --k=40 --part-rows=256)' \
    'NPR_SOLVE_OPTIONS=(--alpha=0.5)'

# ---- the pipeline: four jobs in a chain, the second an array
pipeline >jobs
mapfile -t chain < <(cut -d' ' -f2 jobs)
[ "$(cut -d' ' -f1 jobs | paste -sd' ')" = "minilaion ingest search solve" ] || fail "the chain: $(cat jobs)"
[[ $(field "${chain[3]}" Dependency) == afterok:${chain[2]}* ]] || fail "solve waits for: $(field "${chain[3]}" Dependency)"

# meanwhile, the same without Slurm, on another number of ranks
must 2 npr-minilaion --embeddings --out=world --rows=12000 --dim=64 --classes=20 --rows-per-file=5000
must 3 npr-ingest --emb=world/img_emb --meta=world/metadata --model=npr-minilaion --out=index --part-rows=512
must 1 npr-ingest --emb=world/text/head.npy --meta=world/text/head.tsv --kind=head --model=npr-minilaion --out=head --part-rows=512
must 1 npr-ingest --emb=world/test/test.npy --labels=world/test/test_labels.txt --kind=test --model=npr-minilaion --out=test \
    --part-rows=512
must 3 npr-search --index=index --head=head --names=world/text/classes.txt --mode=caption --clip-filter --k=40 --part-rows=256 \
    --out=pool
must 2 npr-solve --head=head --pool=pool --test=test --alpha=0.5 --out=primed

until_done 120 "${chain[3]}"
[ "$(field "${chain[3]}" JobState)" = COMPLETED ] || { tail -n 50 work/logs/*.log >&2 && exit 1; }
for set in index head test pool primed; do same "$set" "work/$set" "$set by Slurm and by mpirun"; done
[ "$(grep -h '^run\.\(ranks\|slurm_job\)=' work/records/search.txt | paste -sd' ')" = "run.ranks=4 run.slurm_job=${chain[2]}" ] ||
    fail "the record: $(grep '^run\.' work/records/search.txt)"
[ "$(sort -u <(grep -h '^run\.program' work/records/ingest-*.txt) | wc -l)" = 1 ] && [ "$(ls work/records | grep -c ingest)" = 3 ] ||
    fail "the array of ingest: $(ls work/records)"
grep -q "npr-search on 4 ranks of 4 nodes (node\[1-4\])" <(log "${chain[2]}") || fail "not on four nodes: $(log "${chain[2]}")"

# ---- a job that waits gets other nodes than it was submitted for: so many ranks, and the same bytes. It shows that the job goes on with
# other nodes; scontrol sets numtasks, too, so it would pass with a number of tasks taken from Slurm
rm -rf work/primed
pipeline search solve >jobs
mapfile -t again < <(cut -d' ' -f2 jobs)
scontrol update jobid="${again[1]}" numtasks=2 numnodes=2-2 || fail "other nodes: $(scontrol -o show job "${again[1]}")"
until_done 60 "${again[1]}"
grep -q "npr-solve on 2 ranks of 2 nodes" <(log "${again[1]}") || fail "not on two nodes: $(log "${again[1]}")"
grep -qx run.ranks=2 work/records/solve.txt || fail "the record: $(grep '^run\.' work/records/solve.txt)"
same primed work/primed "on other nodes"

# ---- the time limit: USR1 50 s before a limit of 60 s; every part takes rank 1 a second
rm -rf work/index
sed -i 's/^NPR_TIME=.*//; s/^NPR_SBATCH=.*//' clone/slurm/site.sh
printf '%s\n' NPR_TIME=1 'NPR_SBATCH=(--signal=B:USR1@50)' NPR_HEAD_EMB= NPR_TEST_EMB= >>clone/slurm/site.sh
job=$(NPR_FAULT=ingest.batch@1=slow pipeline ingest | cut -d' ' -f2)
sleep 4 # a job that is not asked yet
scancel --batch --signal=USR1 "${job}_0" || true # Slurm's own signal may be up to a minute early or late
until_done 100 "${job}_0"
[ "$(field "${job}_0" JobState)" = COMPLETED ] || fail "asked to stop: $(scontrol show job "${job}_0"; log "$job")"
grep -q "asked to stop: passing it on" <(log "$job") && grep -q "stopped early, finished work is kept; queueing" <(log "$job") &&
    grep -q "restart 1" <(log "$job") || fail "asked to stop: $(log "$job")"
same index work/index "stopped before the time limit, queued again"
sed -i 's/^NPR_TIME=.*//; s/^NPR_SBATCH=(--signal.*//; /^NPR_\(HEAD\|TEST\)_EMB=$/d' clone/slurm/site.sh
printf '%s\n' NPR_TIME=30 'NPR_SBATCH=()' >>clone/slurm/site.sh

# ---- a node is lost
rm -rf work/pool
job=$(NPR_FAULT=search.part@1=slow pipeline search | cut -d' ' -f2)
wait_for 30 "the lock of $job" grep -qs "job $job" work/pool/.work/lock
sleep 1
node_crash node3
scontrol update nodename=node3 state=down reason=crash # what a health check says, and Slurm by itself a little later
restarted() { [ "$(field "$job" Restarts)" = 1 ]; }
wait_for 60 "job $job to be queued again" restarted
node_up node3
back() { scontrol update nodename=node3 state=resume 2>/dev/null || [[ $(sinfo -h -n node3 -o %T) =~ ^(idle|mixed|allocated)$ ]]; }
wait_for 30 "node3 to come back" back
until_done 100 "$job"
[ "$(field "$job" JobState)" = COMPLETED ] || fail "a lost node: $(scontrol show job "$job"; log "$job")"
grep -q "restart 1" <(log "$job") || fail "a lost node: $(log "$job")"
same pool work/pool "a node lost, queued again"

# ---- a second writer is refused with the number of the first; the lock of a dead one is taken over
rm -rf work/pool work/index # short parts: the first writer takes a second for each of 24
must 3 npr-ingest --emb=world/img_emb --meta=world/metadata --model=npr-minilaion --out=work/index --part-rows=128
first=$(NPR_FAULT=search.part@1=slow pipeline search | cut -d' ' -f2)
wait_for 30 "the lock of $first" grep -qs "job $first" work/pool/.work/lock
second=$(pipeline search | cut -d' ' -f2)
until_done 30 "$second"
[ "$(field "$second" ExitCode)" = 73:0 ] && grep -q "written by job $first" <(log "$second") || fail "a second writer: $(log "$second")"
ranks 2 npr-search --index=work/index --head=head --names=world/text/classes.txt --mode=caption --clip-filter --k=40 --part-rows=256 \
    --out=work/pool && fail "a second writer without a job number"
grep -q "in use by host $(hostname), process [0-9]*, job $first" "$TMP/err" || fail "the kernel's lock: $(cat "$TMP/err")"
scancel "$first"
until_done 30 "$first"
[ "$(field "$first" JobState) $(field "$first" Restarts)" = "CANCELLED 0" ] && grep -q "Slurm ended this job" <(log "$first") ||
    fail "scancel: $(scontrol show job "$first"; log "$first")"
third=$(pipeline search | cut -d' ' -f2)
until_done 60 "$third"
grep -q "of 94 parts were scanned by an earlier run" <(log "$third") || fail "nothing was taken over: $(log "$third")"
must 3 npr-search --index=work/index --head=head --names=world/text/classes.txt --mode=caption --clip-filter --k=40 --part-rows=256 \
    --out=alike
same alike work/pool "taken over from a dead job"

# ---- failures are not queued again, and what waits for them is cancelled
head -c 1000 work/head/part-00000.h5 >cut && cp cut work/head/part-00000.h5
rm -rf work/pool work/primed
pipeline search solve >jobs
mapfile -t chain < <(cut -d' ' -f2 jobs)
until_done 60 "${chain[@]}"
[ "$(field "${chain[0]}" ExitCode) $(field "${chain[0]}" Restarts)" = "65:0 0" ] || fail "65: $(scontrol show job "${chain[0]}")"
grep -q "search failed with exit code 65: input is damaged.*will not run" <(log "${chain[0]}") || fail "65: $(log "${chain[0]}")"
[ "$(field "${chain[1]}" JobState)" = CANCELLED ] && [ ! -e work/primed ] || fail "solve: $(scontrol show job "${chain[1]}")"
cp head/part-00000.h5 work/head/
rm -rf work/head work/pool && cp -r head work/head
must 1 npr-ingest --emb=world/text/head.npy --meta=world/text/head.tsv --kind=head --model=other --out=other
rm -rf work/head && cp -r other work/head
job=$(pipeline search | cut -d' ' -f2)
until_done 60 "$job"
[ "$(field "$job" ExitCode) $(field "$job" Restarts)" = "78:0 0" ] || fail "78: $(scontrol show job "$job"; log "$job")"
rm -rf work/head && cp -r head work/head

# ---- a rank that hangs, and one that is killed
rm -rf work/pool
job=$(TEST_WATCHDOG=3 NPR_FAULT=search.part@2=freeze pipeline search | cut -d' ' -f2)
until_done 60 "$job"
[ "$(field "$job" ExitCode) $(field "$job" Restarts)" = "70:0 0" ] || fail "a hang: $(scontrol show job "$job"; log "$job")"
grep -q "rank 2 ($(hostname), process [0-9]*): silent for" <(log "$job") || fail "a hang: $(log "$job")"
rm -rf work/pool
job=$(NPR_FAULT=search.part@2:2=kill pipeline search | cut -d' ' -f2)
until_done 60 "$job"
[ "$(field "$job" ExitCode) $(field "$job" Restarts)" = "137:0 0" ] || fail "a killed rank: $(scontrol show job "$job"; log "$job")"
[ "$FAILURES" = 0 ] || tail -n 100 work/logs/*.log >&2
done_with cluster
