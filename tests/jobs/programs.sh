#!/bin/bash
# What all programs share: --help and --version without a job, the libraries' versions as others tell them, a record that
# can be read back as options.
# shellcheck source=tests/lib.sh
source "$(dirname "$0")/../lib.sh"
cd "$TMP"

programs=0
for main in "${NPR_SOURCE:?}"/jobs/npr-*.c; do
    program=$(basename "$main" .c)
    programs=$((programs + 1))
    "$BIN/$program" --help >help 2>err || fail "$program --help: exit code $?"
    [[ $(head -1 help) == "$program - "* && ! -s err ]] || fail "$program --help: $(head -1 help) $(cat err)"
    for word in --dry-run --record=FILE --opts=FILE "Exit codes: 0 done, 64 usage"; do
        grep -qF -- "$word" help || fail "$program --help is silent on $word"
    done
    "$BIN/$program" --version >version 2>err || fail "$program --version: exit code $?"
    [[ $(head -1 version) == "$program "?* && ! -s err ]] || fail "$program --version: $(head -1 version) $(cat err)"
    sed 1d version >libraries
    [ -e want ] || cp libraries want
    same want libraries "libraries of $program"
done
[ "$programs" -ge 7 ] || fail "only $programs programs were found"

# once, however many ranks ask
must 3 npr-verify --version
[ "$(grep -c '^npr-verify ' out)" = 1 ] || fail "--version on 3 ranks: $(cat out)"
must 3 npr-verify --help
[ "$(grep -c '^npr-verify - ' out)" = 1 ] || fail "--help on 3 ranks: $(cat out)"

# what is asked for must arrive; standard streams that are closed lend their numbers to no file
alone=("${NPR_ALONE[@]}" "$BIN/npr-minilaion")
streams() { # WHAT: the exit code of the command before must be 74
    [ "$code" = 74 ] || fail "$1: exit code $code, wanted 74: $(head -3 err)"
    code=0
}
code=0
for what in --help --version; do
    "${alone[@]}" $what 2>err >/dev/full || code=$?
    streams "$what to a full disk"
    grep -q 'cannot write to standard output: No space left' err || fail "$what to a full disk: $(cat err)"
done
"${alone[@]}" --embeddings --out=closed --rows=500 --dim=64 --classes=4 <&- >&- 2>&- || code=$?
streams "a record to a closed stream"
must 1 npr-minilaion --embeddings --out=open --rows=500 --dim=64 --classes=4
same open closed "a run whose standard streams were closed"

# what others say of the same libraries
says() { # NAME VERSION
    grep -q "^$1 v\{0,1\}${2:-nobody tells its version}\b" want || fail "$1 should be $2: $(cat want)"
}
says "Open MPI" "$(mpirun --version | sed -n 's/.*(Open MPI) //p')"
says OpenBLAS "$(pkg-config --modversion openblas)"
says SQLite "$(pkg-config --modversion sqlite3)"
says jansson "$(pkg-config --modversion jansson)"
says xxHash "$(pkg-config --modversion libxxhash)"
says libjpeg-turbo "$(pkg-config --modversion libjpeg)"
grep -q "^utf8proc [0-9]" want || fail "utf8proc: $(cat want)" # its .pc file names another version
says zlib "$(pkg-config --modversion zlib)"
grep -q '^oneDNN' want || fail "oneDNN: $(cat want)"
says libarchive "$(pkg-config --modversion libarchive)"
says HDF5 "$(/usr/bin/python3 -c 'import h5py; print(h5py.version.hdf5_version)')"
grep -q '^FAISS [1-9]' want || fail "FAISS: $(grep FAISS want)"

# a record is a file of options, too
must 1 npr-minilaion --embeddings --out=world --rows=2000 --dim=64 --classes=4 --seed=7 --record=first.txt
[ ! -s out ] || fail "a record went to standard output, too: $(head -3 out)"
grep -qx 'option.seed=7' first.txt || fail "the record lacks its options: $(cat first.txt)"
must 1 npr-minilaion --opts=first.txt --out=again
same world again "a run with the options of an earlier record"
same <(facts first.txt) <(facts out) "its record"

# a record that cannot be written is known before the work; its folder is made, the one of the job, too
expect 73 "--record=world: is a folder, wanted the name of a file" 2 npr-minilaion --embeddings --out=none --record=world
expect 73 "--record=first.txt/record.txt: first.txt" 1 npr-minilaion --embeddings --out=none --record=first.txt/record.txt
must 1 npr-minilaion --opts=first.txt --out=within --record=within/record.txt
same <(facts first.txt) <(facts within/record.txt) "a record in the job's folder"
rm -r within

# a file of options that is bad, or on one rank missing or another: one sentence, said once
echo "seed=x" >bad.txt
expect 64 "bad.txt:1: --seed=x: wanted a whole number" 2 npr-minilaion --opts=bad.txt --out=none
apart() { # CODE WORDS FILE FILE: what comes of options of rank 0 and of rank 1
    local common=(--embeddings --out=none) code=0
    timeout 60 mpirun -n 1 "$BIN/npr-minilaion" --opts="$3" "${common[@]}" : -n 1 "$BIN/npr-minilaion" --opts="$4" "${common[@]}" >out 2>err || code=$?
    [ "$code" = "$1" ] || fail "exit code $code, wanted $1: options of $3 and $4: $(head -3 err)"
    once "$2" || fail "wanted \"$2\" once: options of $3 and $4: $(cat err)"
}
sed -n '/^option\.\(out\|embeddings\)=/!s/^option\.//p' first.txt >plain.txt
apart 66 "lost.txt: cannot open: No such file" plain.txt lost.txt
for other in seed=8 watchdog=60 dry-run=1; do # of which two shape no result
    { sed "/^${other%=*}=/d" plain.txt && echo "$other"; } >second.txt
    apart 64 "this rank has other options than rank 0" plain.txt second.txt
done
# an option that is wrong on one of them, the first or another
for wrong in "--sed=8" "--seed=x"; do
    timeout 60 mpirun -n 1 "$BIN/npr-minilaion" --out=none : -n 2 "$BIN/npr-minilaion" --out=none $wrong >out 2>err && fail "$wrong on the last two ranks"
    once "options failed on 2 of 3 ranks; rank 1" || fail "$wrong on the last two ranks: $(cat err)"
    timeout 60 mpirun -n 1 "$BIN/npr-minilaion" --out=none $wrong : -n 1 "$BIN/npr-minilaion" --out=none >out 2>err && fail "$wrong on the first rank"
    once "options failed on 1 of 2 ranks; rank 0" || fail "$wrong on the first rank: $(cat err)"
done
SLURM_PROCID=1 expect 64 "unknown option --sed" 1 npr-minilaion --out=none --sed=8 # alone on purpose: see below
[ ! -e none ] || fail "something was written with options that were refused"

# tasks that srun started and MPI does not bring together: refused, and said once; one that mpirun starts in a step of Slurm is right
export SLURM_STEP_NUM_TASKS=3
SLURM_PROCID=0 expect 78 "srun started 3 tasks, but MPI finds each of them alone" 1 npr-plan --rows=1000
SLURM_PROCID=1 ranks 1 npr-plan --rows=1000 && fail "a task alone went to work"
[ ! -s err ] && [ ! -s out ] || fail "the second task speaks too: $(cat out err)"
# what is meant to be alone, as the message says, is; and speaks of its own failures whatever its number
env -u SLURM_STEP_NUM_TASKS SLURM_PROCID=1 "${NPR_ALONE[@]}" "$BIN/npr-verify" --set=none-$$ >out 2>err && fail "a set that is not there"
once "none-$$" || fail "a failure without a word: $(cat out err)"
timeout 60 mpirun -n 1 "$BIN/npr-plan" --rows=1000 >out 2>err || fail "mpirun in a step of Slurm: $(cat err)"
SLURM_STEP_NUM_TASKS=1 must 1 npr-plan --rows=1000
unset SLURM_STEP_NUM_TASKS

# a rank without memory for a line of its record: the work is done, and one sentence says what is missing
NPR_FAULT=record.line@1:3=fail must 3 npr-plan --rows=1000
once "warning: rank 1 had no memory for lines of its record (1 of them)" || fail "a record without memory: $(cat err)"
done_with programs
