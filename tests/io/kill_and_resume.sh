#!/bin/bash
# A rank is killed (SIGKILL) at every kind of point of writing a set, and of adding indexes to it; the same command with
# another number of ranks must then give the bytes of an undisturbed run.
set -u
program=$NPR_BIN/tests/test_io_set_mpi
folder=$(mktemp -d)
export OMPI_MCA_orte_tmpdir_base=$folder # jobs of other tests make and remove the same folder in /tmp
trap 'rm -rf "$folder"' EXIT
bad=0
cases=0

run() # RANKS JOB DIR
{
    timeout 60 mpirun -n "$1" "$program" "$2" "$3" > "$folder/log" 2>&1
}

fail()
{
    echo "$1"
    cat "$folder/log"
    bad=$((bad + 1))
}

run 1 write "$folder/want" || fail "an undisturbed run failed"
cp -r "$folder/want" "$folder/indexed"
run 1 index "$folder/indexed" || fail "an undisturbed index failed"

kill_one() # JOB FAULT RANKS THEN WANT
{
    ((${NPR_SANITIZED:-0} && cases++ % 3)) && return # the sanitized build tries one in three
    rm -rf "$folder/set"
    [ "$1" = index ] && cp -r "$folder/want" "$folder/set"
    NPR_FAULT=$2=kill run "$3" "$1" "$folder/set"
    local rc=$?
    # 137: killed; 0: this rank never came by there
    [ $rc = 137 ] || fail "$1 with $2 on $3 ranks ended with $rc, not 137"
    run "$4" "$1" "$folder/set" || fail "$1 after $2 on $3 ranks cannot go on with $4"
    diff -r "$folder/set" "$5" > "$folder/log" 2>&1 || fail "$1 after $2 on $3 ranks, resumed on $4, gives other bytes"
}

for fault in part.create@0 part.write@0:5 part.close@1 part.verify@0:9 part.rename@1 file.sync@0:1 file.rename@0:2 \
    file.rename@1:1 journal.append@0 journal.append@1 file.write@0:3 file.write@0:5 manifest.write@0; do
    kill_one write $fault 2 3 "$folder/want"
done
kill_one write part.rename@0:4 1 2 "$folder/want"
kill_one write journal.append@2 3 1 "$folder/want"
for fault in part.write@0:5 part.verify@1 part.rename@0 part.rename@1:2 file.rename@0:2 journal.append@1 manifest.write@0; do
    kill_one index $fault 2 3 "$folder/indexed"
done

# a failure that is reported, not a crash: the code and one line that names the rank
NPR_FAULT=part.write@1:3 run 2 write "$folder/full"
rc=$?
[ $rc = 74 ] || fail "a failed write ended with $rc, not 74"
grep -q 'write failed on 1 of 2 ranks; rank 1 (.*/full/part-0000.*: cannot write .* bytes free' "$folder/log" || fail "its message:"

# a part with an index that cannot be journalled leaves nothing of its size behind
cp -r "$folder/want" "$folder/left"
NPR_FAULT=journal.append@1 run 2 index "$folder/left"
rc=$?
[ $rc = 74 ] || fail "a failed journal ended with $rc, not 74"
! compgen -G "$folder/left/*.tmp.*" || fail "a failed journal left a temporary file behind"
exit $((bad > 0))
