#!/bin/bash
# npr-search --mode=faiss where more rows tie for the last places than a list has room for, so that a list drops some of them
# before all parts are known: still the first of them stay, in the order of the input, on any ranks, killed or not.
# shellcheck source=tests/lib.sh
source "$(dirname "$0")/../lib.sh"
cd "$TMP"

# Parts of 500 rows. Of each part so many tie for the query, of the one in which the last of 400 candidates lies 400,
# and there every other one lies in another list of the index: FAISS, asked for a share, names those of one list, which are
# not the first.
/usr/bin/python3 - <<'PY'
import numpy as np
rng, rows, dim = np.random.default_rng(3), 500, 48
np.save("q.npy", np.eye(dim)[:1].astype(np.float16))
for name, parts, each, last in ("many", 16, 53, 7), ("few", 4, 130, 3):
    x = rng.normal(size=(parts, rows, dim))
    x[..., 0] *= 0.2
    x /= np.linalg.norm(x, axis=2, keepdims=True)
    for part in range(parts):
        tied = np.arange(50, 450) if part == last else rng.permutation(rows)[:each]
        x[part, tied] = 0
        x[part, tied, 0] = 0.6
        x[part, tied, 47] = np.where(tied % 2, 0.8, -0.8)
    x = x.reshape(-1, dim).astype(np.float16)
    np.save(name + ".npy", x)
    np.savetxt(name + ".wanted", np.flatnonzero(x[:, 0] == np.float16(0.6))[:400], fmt="%d")
PY
echo 0 >q.labels
must 1 npr-ingest --kind=test --emb=q.npy --labels=q.labels --out=queries --model=A
for set in many few; do
    must 2 npr-ingest --emb=$set.npy --out=$set --part-rows=500 --model=A
    must 2 npr-index --set=$set --factory=IVF8,Flat --sample=1900
done

search() { # RUNNER RANKS SET OUT
    "$1" "$2" npr-search --mode=faiss --index="$3" --queries=queries --k=400 --refine=1 --nprobe=8 --recall-queries=0 --out="$4"
}
first() { # SET OUT WHAT
    /usr/bin/python3 -c 'import h5py, sys
with h5py.File(sys.argv[1] + "/part-00000.h5") as f: print(*f["id"][:], sep="\n")' "$2" >found
    same "$1.wanted" found "the first 400 of the rows that tie, $3"
}
for set in many few; do
    search must 1 $set $set-pool
    first $set $set-pool "on one rank"
done
for n in 2 3 5; do
    spare && continue
    search must "$n" many again
    same many-pool again "on $n ranks"
    rm -r again
done

# ---- killed when only one rank's list had been cut; then on ranks of which none cuts its own
survive() { # SET FAULT RANKS RANKS-AFTER
    spare_kill "$2" && return
    NPR_FAULT=$2 search ranks "$3" "$1" again && fail "$2 did not end the run"
    search must "$4" "$1" again
    grep -q "scanned by an earlier run" err || fail "after $2 all was scanned again"
    same "$1-pool" again "$1 after $2"
    rm -r again
}
survive few search.part@0:5=kill 1 3 # all parts' candidates are known
survive many search.part@1:7=kill 2 1
survive many search.part@0:17=kill 1 2
done_with ties
