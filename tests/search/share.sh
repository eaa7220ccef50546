#!/bin/bash
# npr-search --mode=faiss over parts that are unlike: rows lie by topic, so the candidates of a query lie in one or two of 16
# parts, each of which is asked for its share of them, then for more. The same bytes on any ranks, killed or not, and the
# bytes of the same rows in one part, which is asked for all.
# shellcheck source=tests/lib.sh
source "$(dirname "$0")/../lib.sh"
cd "$TMP"

# 16 topics of 480 to 520 rows, none twice; one row of eight is similar enough; 10 queries of a topic, which FAISS answers
# in three blocks
/usr/bin/python3 - <<'PY'
import numpy as np
rng, topics, dim, each = np.random.default_rng(21), 16, 48, 10
unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)
centre = unit(rng.normal(size=(topics, dim)))
of = np.sort(np.r_[np.repeat(np.arange(topics), 480), rng.integers(0, topics, 320)])
np.save("x.npy", unit(centre[of] + 0.2 * rng.normal(size=(len(of), dim))).astype(np.float16))
with open("x.tsv", "w") as f:
    f.write("caption\tsimilarity\n" + "".join(f"row {i}\t{rng.random():.3f}\n" for i in range(len(of))))
np.save("q.npy", unit(np.repeat(centre, each, axis=0) + 0.1 * rng.normal(size=(topics * each, dim))).astype(np.float16))
np.savetxt("q.labels", np.repeat(np.arange(topics), each), fmt="%d")
PY
must 2 npr-ingest --emb=x.npy --meta=x.tsv --out=parts --part-rows=500 --model=A
must 1 npr-ingest --emb=x.npy --meta=x.tsv --out=whole --part-rows=8000 --model=A
must 1 npr-ingest --kind=test --emb=q.npy --labels=q.labels --out=queries --model=A
for set in parts whole; do must 2 npr-index --set=$set --factory=IVF8,SQ8 --sample=3000; done
[ "$(find parts -name 'part-*.h5' | wc -l) $(find whole -name 'part-*.h5' | wc -l)" = "16 1" ] || fail "not 16 parts and one"

# 400 candidates of a query, of which about 50 may be taken
search() { # RUNNER RANKS SET OUT
    "$1" "$2" npr-search --mode=faiss --index="$3" --queries=queries --k=40 --refine=10 --nprobe=8 --min-similarity=0.875 \
        --recall-queries=0 --out="$4"
}
fact() { sed -n "s/^$1=//p" out; }

search must 1 whole whole-pool
search must 1 parts pool
facts out >pool.facts
for file in whole-pool/part-*.h5; do same "$file" "pool/${file##*/}" "16 parts against one that is asked for all"; done
same whole-pool/classes.tsv pool/classes.tsv "classes of 16 parts against those of one"
for n in 2 3 5; do
    spare && continue
    search must "$n" parts again
    same pool again "on $n ranks"
    same pool.facts <(facts out) "record on $n ranks"
    rm -r again
done

# ---- killed or stopped among the candidates, among parts that are asked for more, among the rows that are scored, and when all is
# known; then other ranks
survive() { # FAULT RANKS RANKS-AFTER [SECOND-FAULT [PARTS]]: PARTS had been asked for more
    spare_kill "$1" && return # never the last of these seven
    local code=0
    NPR_FAULT=$1 search ranks "$2" parts again || code=$?
    [[ $code != 0 && ($1 != *=stop || $code = 75) ]] || fail "$1 ended the run with exit code $code"
    [ -z "${4:-}" ] || { NPR_FAULT=$4 search ranks "$3" parts again && fail "$4 did not end the run"; }
    search must "$3" parts again
    grep -q "scanned by an earlier run" err || fail "after $1 all was scanned again"
    [ -z "${5:-}" ] || grep -q " $5 of them had been asked for more" err || fail "after $1 wanted $5 parts: $(grep "of them" err)"
    same pool again "after $1"
    same pool.facts <(facts out) "record after $1"
    rm -r again
}
survive search.part@0:11=kill 1 3
survive search.part@1:5=kill 2 1 search.part@0:4=kill
survive search.part@0:20=kill 1 3 "" 3 # all parts' candidates, and more of three parts
survive search.part@0:10=stop 2 5 "" 10 # rank 0 has more of two of its parts, rank 1 of all of them
survive search.part@0:22=kill 1 2 search.part@0:2=stop 7 # of five; then of two, all by the rank that reads the one journal
survive search.part@0:19=kill 2 5 "" 16 # and the third part that is scored
survive pool.batch@0:1=kill 3 2 "" 16
[ "$(fact run.bytes_scanned)" = 0 ] || fail "nothing was left to scan, and $(fact run.bytes_scanned) bytes were read"
done_with share
