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
    for most in (1, 10, 100):
        part = []
        for i in range(asked):
            q = i * classes // asked
            best = np.lexsort((np.arange(len(x)), np.where(ok, -score[:, q].round(12), 9)))[:min(k, most)]
            part.append(len(set(best) & set(ids[labels == q])) / len(best))
        assert abs(float(facts[f"result.recall_at_{most}"]) - np.mean(part)) < 1e-8, (name, most)
    lists = {"ivf-all": (16, 16), "ivf-few": (1, 16), "sq": (2, 16), "fastscan": (2, 8), "turned": (4, 8)}
    if name in lists: # lists are of all sizes, so about
        scanned = float(facts["result.scanned_share"]) / (lists[name][0] / lists[name][1])
        assert 0.5 < scanned < 2 and (name != "ivf-all" or scanned == 1), (name, scanned)
    elif name == "hnsw": assert "result.scanned_share" not in facts
    else: assert float(facts["result.scanned_share"]) == 1, name
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
NPR_FAULT=search.part@0:3=kill search ranks 1 hnsw again --refine=1 && fail "search.part@0:3 did not end the job"
# begun by a version whose parts each proposed rows of their own: refused
identity=$(find again -name identity)
cp "$identity" identity
sed -i '/^search.candidates=/d' "$identity"
expect 73 'wanted "search.candidates=all-parts"' 2 npr-search --mode=faiss --index=hnsw --head=head --k=25 --out=again --refine=1
mv identity "$identity"
search must 3 hnsw again --refine=1
grep -q "scanned by an earlier run" err || fail "after a kill all was scanned again"
same pool-hnsw again "killed while recall is measured"
same facts-hnsw <(facts out) "its record"
rm -r again

# ---- probes and refine factor chosen to reach a recall: the same for any ranks and threads, and no more than needed
for target in 0.6 0.9 1; do
    search must 1 sq tuned --target-recall=$target --recall-queries=10
    facts out >"tuned-$target"
    spare || search must 3 sq again --target-recall=$target --recall-queries=10 --threads=2 --query-batch=7
    [ ! -e again ] || same tuned again "--target-recall=$target on 3 ranks"
    [ ! -e again ] || same "tuned-$target" <(facts out) "record of --target-recall=$target on 3 ranks"
    rm -rf again
    fact() { sed -n "s/^result.$1=//p" "tuned-$target"; }
    [ "$(fact tuned_reached)" = 1 ] || fail "--target-recall=$target: $(grep tuned "tuned-$target")"
    search must 2 sq plain-tuned --nprobe="$(fact tuned_nprobe)" --refine="$(fact tuned_refine)" --recall-queries=0
    for file in tuned/part-*.h5; do
        same "$file" "plain-tuned/${file##*/}" "a search with the probes that --target-recall=$target chose"
    done
    rm -r tuned plain-tuned
done
/usr/bin/python3 - <<'PY' || fail "what was tuned"
fact = {t: dict(l.rstrip("\n").split("=", 1) for l in open("tuned-" + t)) for t in ("0.6", "0.9", "1")}
get = lambda t, key: float(fact[t]["result." + key])
for t in fact:
    print(t, {k: v for k, v in fact[t].items() if "tuned" in k or "recall" in k or "scanned" in k})
    assert get(t, "tuned_recall") - get(t, "tuned_recall_error") >= float(t)
    assert get(t, "tuned_queries") == 20 and get(t, "tuned_by_rows") == 0, t # 30 queries, ten of which measure
    assert 0 < get(t, "scanned_share") <= 1
    assert get(t, "recall_at_k") > float(t) - 0.1, t # other queries than those it was tuned by
assert get("0.6", "tuned_nprobe") < get("0.9", "tuned_nprobe") < 16 and get("0.6", "scanned_share") < get("0.9", "scanned_share") < 1
PY
# killed when all candidates are known: the next run uses what was tuned, and no candidates of another choice
NPR_FAULT=pool.batch@0=kill search ranks 2 sq again --target-recall=0.9 --recall-queries=10 && fail "pool.batch@0 did not end the job"
kept=$(find again -name tuned)
awk '{ $3 = 1; print }' "$kept" >tuned-other # nprobe
read -r _ _ _ refine _ <"$kept"
echo much >"$kept"
expect 65 "not what was tuned by an earlier run" 2 npr-search --mode=faiss --index=sq --head=head --k=25 --out=again --target-recall=0.9 --recall-queries=10
cp tuned-other "$kept"
search must 3 sq again --target-recall=0.9 --recall-queries=10
grep -q "what an earlier run has tuned is used" err || fail "tuned again: $(cat err)"
search must 2 sq plain-tuned --nprobe=1 --refine="$refine" --recall-queries=0
for file in plain-tuned/part-*.h5; do
    same "$file" "again/${file##*/}" "a search that goes on with other probes"
done
rm -r again plain-tuned
# more hits than candidates are tried first: there is only one factor to try, and it is tried once
NPR_FAULT=search.tune@0:2=kill must 2 npr-search --mode=faiss --index=hnsw --head=head --k=5000 --out=again --target-recall=1
grep -qx 'result.tuned_reached=0' out || fail "the target is in reach, which shows nothing: $(grep tuned out)"
rm -r again
# too few queries: rows of the index, disturbed
/usr/bin/python3 -c 'import numpy as np; np.save("few.npy", np.load("head.npy")[:4])'
head -5 head.tsv >few.tsv
must 1 npr-ingest --kind=head --emb=few.npy --meta=few.tsv --out=few --model=A
must 1 npr-search --mode=faiss --index=sq --head=few --k=25 --out=few1 --target-recall=0.9
facts out >few-facts
must 3 npr-search --mode=faiss --index=sq --head=few --k=25 --out=few3 --target-recall=0.9
same few1 few3 "tuned by rows on 3 ranks"
same few-facts <(facts out) "record of a search tuned by rows"
grep -qx 'result.tuned_by_rows=16' few-facts || fail "not tuned by rows: $(grep tuned few-facts)"
# out of reach: said, and either the best is used or, with --strict, nothing is written
search must 2 hnsw most --target-recall=1
[ "$(grep -c "a recall of 1 is out of reach of index HNSW8" err)" = 1 ] || fail "no warning: $(cat err)"
grep -qx 'result.tuned_reached=0' out || fail "out of reach, but: $(grep tuned out)"
expect 78 "a recall of 1 is out of reach of index HNSW8" 2 npr-search --mode=faiss --index=hnsw --head=head --k=25 --out=strict --target-recall=1 --strict
[ ! -e strict/manifest.json ] || fail "--strict wrote a pool"
expect 64 "exact search is exact" 2 npr-search --index=sq --head=head --out=strict --target-recall=0.9
done_with recall
