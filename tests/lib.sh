# lib.sh - what end-to-end tests share; source it first. Needs NPR_BIN (the build folder) and NPR_SOURCE; ctest sets them.
# shellcheck shell=bash
set -Eeuo pipefail
# a command that ends the test says which it was, also where its own words went elsewhere
trap 'echo "${BASH_SOURCE[0]##*/}:$LINENO: exit code $? of: $BASH_COMMAND" >&2' ERR

BIN=${NPR_BIN:?NPR_BIN must name the build folder}
TMP=$(mktemp -d "${TMPDIR:-/tmp}/npr-test-XXXXXX")
trap 'rm -rf "$TMP"' EXIT
export OMPI_MCA_orte_tmpdir_base=$TMP # jobs of other tests make and remove the same folder in /tmp
# shellcheck source=slurm/env/local.sh
source "${NPR_SOURCE:?}/slurm/env/local.sh"
FAILURES=0
SANITIZED=${NPR_SANITIZED:-0} # 1: the sanitized build, which need not repeat what is about bytes, only touch all code

# ranks N PROGRAM ARGS...: run on N ranks, standard output to $TMP/out, standard error to $TMP/err; gives the exit code. One
# rank needs no mpirun.
ranks() {
    local n=$1 program=$2 code=0 run=("${NPR_ALONE[@]}")
    shift 2
    [ "$n" = 1 ] || run=(mpirun -n "$n")
    timeout -k 5 100 "${run[@]}" "$BIN/$program" "$@" </dev/null >"$TMP/out" 2>"$TMP/err" || code=$?
    return "$code"
}

# must N PROGRAM ARGS...: the same; a failure ends the test and shows what was said.
must() {
    ranks "$@" && return
    echo "FAILED with exit code $?: $*" >&2
    cat "$TMP/err" >&2
    exit 1
}

fail() {
    echo "FAILED: $*" >&2
    FAILURES=$((FAILURES + 1))
}

# once WORDS: is this in one line, and only one, of what our program said? Open MPI's own lines hold numbers of any kind.
once() {
    [ "$(grep -E '^([0-9:]{8} )?npr-' "$TMP/err" | grep -cF -- "$1")" = 1 ]
}

# alone CODE N: is one rank enough for a refusal? That one of several says it, and all end with its code, is tried without sanitizers;
# with them too where a fault is injected into one of several ranks, and in one case of three of what they must agree on.
REFUSALS=0
alone() {
    ((SANITIZED && $2 > 1)) && [ -z "${NPR_FAULT:-}" ] || return
    [ "$1" = 64 ] || ((REFUSALS++ % 3))
}

# expect CODE WORDS N PROGRAM ARGS...: it must end with this code and say these words, once, on standard error.
expect() {
    local want=$1 words=$2 got=0
    shift 2
    ! alone "$want" "$1" || set -- 1 "${@:2}"
    ranks "$@" || got=$?
    [ "$got" = "$want" ] || fail "exit code $got, wanted $want: $*: $(grep -v '^--' "$TMP/err" | head -3)"
    once "$words" || fail "wanted \"$words\" once: $*: $(head -5 "$TMP/err")"
}

# facts FILE: the lines of a record that must not depend on how a job was run.
facts() {
    grep -E '^(result|check)\.' "$1"
}

# spare: is this one of the two in three cases of a kind that the sanitized build can spare?
CASES=0
spare() {
    ((SANITIZED && CASES++ % 3))
}

# spare_kill FAULT: the same of a job that is killed, which leaves nothing for a sanitizer to see; a failure that is reported is never spared.
spare_kill() {
    [[ $1 != *=fail ]] && spare
}

# same A B WHAT: two files or folders hold the same bytes.
same() {
    diff -r "$1" "$2" >"$TMP/diff" 2>&1 || fail "$3: $(head -3 "$TMP/diff")"
}

# done_with NAME: last line of a test.
done_with() {
    [ "$FAILURES" = 0 ] || { echo "$1: $FAILURES checks failed" >&2; exit 1; }
    echo "$1: passed"
}
