#!/bin/bash
# npr-search --mode=faiss where more rows tie for the last places than a list has room for, so that a list drops some of them
# before all parts are known: still the first of them stay, in the order of the input, on any ranks, killed or not.
# shellcheck source=tests/lib.sh
source "$(dirname "$0")/../lib.sh"
cd "$TMP"

# 16 parts of 500 rows. 53 of each score 0.6 with the first query, 200 of part 7, where every other one lies in another list of
# the index: FAISS, asked for a share, names those of one list. Of the 400 candidates the last 29 are the first of part 7.
/usr/bin/python3 - <<'PY'
import numpy as np
rng, parts, rows, dim = np.random.default_rng(3), 16, 500, 48
x = rng.normal(size=(parts, rows, dim))
x[..., 0] *= 0.2
x /= np.linalg.norm(x, axis=2, keepdims=True)
for part in range(parts):
    tied = np.arange(200) * 2 + 50 if part == 7 else rng.permutation(rows)[:53]
    x[part, tied] = 0
    x[part, tied, 0] = 0.6
    x[part, tied, 47] = np.where(np.arange(len(tied)) % 2 if part == 7 else rng.random(len(tied)) < 0.5, 0.8, -0.8)
x = x.reshape(-1, dim).astype(np.float16)
q = rng.normal(size=(3, dim))
q[0] = np.eye(dim)[0]
np.save("x.npy", x)
np.save("q.npy", (q / np.linalg.norm(q, axis=1, keepdims=True)).astype(np.float16))
np.savetxt("wanted", np.flatnonzero(x[:, 0] == np.float16(0.6))[:400], fmt="%d")
PY
seq 0 2 >q.labels
must 2 npr-ingest --emb=x.npy --out=parts --part-rows=500 --model=A
must 1 npr-ingest --kind=test --emb=q.npy --labels=q.labels --out=queries --model=A
must 2 npr-index --set=parts --factory=IVF8,Flat --sample=3000

search() { # RUNNER RANKS OUT
    "$1" "$2" npr-search --mode=faiss --index=parts --queries=queries --k=400 --refine=1 --nprobe=8 --recall-queries=0 --out="$3"
}
search must 1 pool
/usr/bin/python3 -c 'import h5py
with h5py.File("pool/part-00000.h5") as f: print(*f["id"][:][f["label"][:] == 0], sep="\n")' >found
same wanted found "the first 400 of the rows that tie"
for n in 2 3 5; do
    spare && continue
    search must "$n" again
    same pool again "on $n ranks"
    rm -r again
done
NPR_FAULT=search.part@1:7=kill search ranks 2 again && fail "search.part did not end the run"
search must 1 again
grep -q "scanned by an earlier run" err || fail "all was scanned again"
same pool again "killed on two ranks, ended on one"
done_with ties
