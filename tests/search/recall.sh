#!/bin/bash
# npr-search --mode=faiss end to end, for every family of factory strings: the same bytes for any ranks and threads, exact
# scores, and the printed recall@k, which numpy computes again from the pools and the vectors. (More ranks, batches and
# faults for one of them: search.sh.)
# shellcheck source=tests/lib.sh
source "$(dirname "$0")/../lib.sh"
cd "$TMP"

# 4,000 rows around 24 centres, in five parts; more queries than recall is measured on; some rows are twins
/usr/bin/python3 - <<'PY'
import numpy as np
rng, rows, classes, dim = np.random.default_rng(11), 4000, 30, 48
unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)
centre = unit(rng.normal(size=(24, dim)))
x = unit(centre[rng.integers(0, 24, rows)] + 0.25 * rng.normal(size=(rows, dim))).astype(np.float16)
x[rng.integers(0, rows, 300)] = x[rng.integers(0, rows, 300)]
np.save("x.npy", x)
with open("x.tsv", "w") as f:
    f.write("caption\tsimilarity\n" + "".join(f"row {i}\t{rng.random():.3f}\n" for i in range(rows)))
np.save("head.npy", unit(centre[np.arange(classes) % 24] + 0.3 * rng.normal(size=(classes, dim))).astype(np.float32))
open("head.tsv", "w").write("caption\n" + "".join(f"class {c}\n" for c in range(classes)))
PY
must 2 npr-ingest --emb=x.npy --meta=x.tsv --out=plain --part-rows=900 --model=A
must 1 npr-ingest --kind=head --emb=head.npy --meta=head.tsv --out=head --model=A

search() { # RUNNER RANKS SET OUT OPTIONS...
    "$1" "$2" npr-search --mode=faiss --index="$3" --head=head --k=25 --out="$4" "${@:5}"
}

# NAME|FACTORY|OPTIONS OF THE SEARCH
while IFS='|' read -r name factory options; do
    read -ra options <<<"$options"
    cp -r plain "$name"
    must 2 npr-index --set="$name" --factory="$factory" --sample=3000
    search must 1 "$name" "pool-$name" "${options[@]}"
    facts out >"facts-$name"
    hows=("3 2 64")
    ((!SANITIZED)) || hows=()
    [ "$name" != sq ] || hows+=("2 1 500" "7 1 16384")
    for how in "${hows[@]}"; do
        read -r n threads tile <<<"$how"
        search must "$n" "$name" again "${options[@]}" --threads="$threads" --tile-rows="$tile"
        same "pool-$name" again "$factory on $n ranks, $threads threads"
        same "facts-$name" <(facts out) "record of $factory on $n ranks, $threads threads"
        rm -r again
    done
done <<'TABLE'
flat|Flat|--refine=1
ivf-all|IVF16,Flat|--nprobe=16 --refine=1
ivf-few|IVF16,Flat|--nprobe=1 --refine=1 --recall-queries=30
sq|IVF16,SQ8|--nprobe=2 --refine=2 --recall-queries=7
pq|PQ8np|--refine=2 --recall-queries=12 --min-similarity=0.3
fastscan|IVF8,PQ12x4fs|--nprobe=2 --refine=3 --recall-queries=1
hnsw|HNSW8|--refine=1
turned|PCAR24,IVF8,SQ8|--nprobe=4 --refine=2
TABLE
[ "$(find . -maxdepth 1 -name 'pool-*' | wc -l)" = 8 ] || fail "not all factories were searched"

# ---- the answers are rows with their exact scores; recall is what numpy finds
/usr/bin/python3 - <<'PY' || fail "numpy disagrees"
import glob, h5py, numpy as np
def column(folder, name):
    return np.concatenate([h5py.File(p)[name][:] for p in sorted(glob.glob(folder + "/part-*.h5"))])
k, classes = 25, 30
x, sim = column("plain", "emb").astype(np.float64), column("plain", "similarity")
head = column("head", "weight").astype(np.float64)
score = x @ head.T
seen = set()
for pool in sorted(glob.glob("pool-*")):
    name = pool[5:]
    facts = dict(l.rstrip("\n").split("=", 1) for l in open("facts-" + name))
    ids, labels = column(pool, "id"), column(pool, "label")
    assert np.abs(column(pool, "score") - score[ids, labels]).max() < 1e-6, name
    ok = sim >= np.float32(0.3) if name == "pq" else np.ones(len(x), bool)
    assert ok[ids].all()
    asked = {"ivf-few": 30, "sq": 7, "pq": 12, "fastscan": 1}.get(name, 20)
    share = []
    for i in range(asked):
        q = i * classes // asked
        best = np.lexsort((np.arange(len(x)), np.where(ok, -score[:, q].round(12), 9)))[:k]
        share.append(len(set(best) & set(ids[labels == q])) / k)
    print(f"{name}: recall@{k} {np.mean(share):.4f}, least {min(share):.2f}")
    assert int(facts["result.recall_queries"]) == asked, (name, facts)
    assert abs(float(facts["result.recall_at_k"]) - np.mean(share)) < 1e-8, (name, facts["result.recall_at_k"], np.mean(share))
    assert abs(float(facts["result.recall_at_k_least"]) - min(share)) < 1e-8, name
    if name in ("flat", "ivf-all"): assert min(share) == 1, name
    else: seen.add(round(np.mean(share), 4))
assert min(seen) < 0.9 and len(seen) > 3, seen # else agreement would show nothing
PY

# ---- an index that sees every row gives the exact pool
must 2 npr-search --index=plain --head=head --k=25 --out=exact
for file in exact/part-*.h5; do
    same "$file" "pool-flat/${file##*/}" "a Flat index against exact search"
    same "$file" "pool-ivf-all/${file##*/}" "all lists of an IVF index against exact search"
done
grep -q "^result.recall_" out && fail "exact search speaks of recall: $(grep ^result.recall_ out)"

# ---- a pass of exact search less, when nobody wants to know
search must 2 sq quiet --recall-queries=0
grep -q "^result.recall_" out && fail "--recall-queries=0 measures recall: $(grep ^result.recall_ out)"

# ---- killed while recall is measured, then other ranks
NPR_FAULT=search.part@0:7=kill search ranks 1 hnsw again --refine=1 && fail "search.part@0:7 did not end the job"
search must 3 hnsw again --refine=1
grep -q "scanned by an earlier run" err || fail "after a kill all was scanned again"
same pool-hnsw again "killed while recall is measured"
same facts-hnsw <(facts out) "its record"
done_with recall
