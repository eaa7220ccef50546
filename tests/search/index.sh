#!/bin/bash
# npr-index end to end: the same bytes however it is run, killed, stopped or repeated; and what it refuses.
# shellcheck source=tests/lib.sh
source "$(dirname "$0")/../lib.sh"
cd "$TMP"

# 9,300 rows around 20 centres, in ten parts; ids that say nothing about the order
/usr/bin/python3 - <<'PY'
import numpy as np
rng, rows, dim = np.random.default_rng(5), 9300, 48
x = rng.normal(size=(20, dim))[rng.integers(0, 20, rows)] + 0.5 * rng.normal(size=(rows, dim))
np.save("x.npy", (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float16))
PY
must 2 npr-ingest --kind=index --emb=x.npy --out=plain --part-rows=1024 --model=ViT-B-32
index() { # RUNNER RANKS SET OPTIONS...
    "$1" "$2" npr-index --set="$3" --factory=IVF16,SQ8 --sample=3000 "${@:4}"
}

# ---- the same bytes for any ranks and threads
cp -r plain indexed
index must 1 indexed
facts out >want
grep -q '^result.rows=9300$' want || fail "result.rows: $(cat want)"
for run in "2 2" "3 1" "5 1" "12 1"; do
    read -r n threads <<<"$run"
    spare && continue
    rm -rf again
    cp -r plain again
    index must "$n" again --threads="$threads"
    same indexed again "$n ranks, $threads threads"
    same want <(facts out) "record, $n ranks, $threads threads"
done

# ---- what is in it: FAISS's own bytes, the other columns as before
/usr/bin/python3 - <<'PY' || fail "what h5py reads"
import glob, h5py, numpy as np
blobs = set()
for path in sorted(glob.glob("plain/part-*.h5")):
    with h5py.File(path) as old, h5py.File(path.replace("plain", "indexed")) as new:
        assert set(new) == set(old) | {"index"}, list(new)
        for name in old:
            assert old[name].dtype == new[name].dtype and np.array_equal(old[name][()], new[name][()]), name
        blob = new["index"][()].tobytes()
        assert blob[:4] == b"IwSq", blob[:4]
        assert len(blob) > old["emb"].shape[0] * (48 + 8)
        blobs.add(blob)
assert len(blobs) == 10
PY

# ---- done already: said, and nothing is written
touch mark
index must 2 indexed
grep -q "has this very index already" err || fail "does not say that it is there: $(cat err)"
same want <(facts out) "record of a run with nothing to do"
[ -z "$(find indexed -newer mark -type f)" ] || fail "a run with nothing to do wrote $(find indexed -newer mark -type f)"

# ---- another index takes its place, and gives way again
must 3 npr-index --set=again --factory=IVF8,PQ12x4fs
diff -rq indexed again >/dev/null && fail "another factory gave the same bytes"
index must 2 again --seed=2
diff -rq indexed again >/dev/null && fail "another seed gave the same bytes"
index must 2 again
same indexed again "an index that was replaced twice"

# ---- kill -9, then other ranks
try() { # FAULT RANKS-BEFORE RANKS-AFTER
    local code=0
    [[ $1 == index.part@*=kill ]] || ! spare || return 0
    rm -rf again
    cp -r plain again
    NPR_FAULT=$1 index ranks "$2" again || code=$?
    [ "$code" != 0 ] || fail "NPR_FAULT=$1 did not end the job"
    index must "$3" again
    same indexed again "$1, $2 then $3 ranks"
}
try index.train@0=kill 3 2
try index.part@0=kill 3 2
grep -q "trained index of an earlier run is used" err || fail "trained again: $(cat err)"
try index.part@1:3=kill 2 3
grep -q "rows are indexed already" err || fail "began again: $(cat err)"
try index.part@1:2=fail 3 1
try part.rename@0:3=kill 2 5
try journal.append@1:2=kill 3 1
try manifest.write@0=kill 2 3

# ---- killed before a part was changed: the set is as it was, and another command is welcome
for fault in index.train@0 index.part@0; do
    rm -rf again
    cp -r plain again
    NPR_FAULT=$fault=kill index ranks 1 again && fail "$fault did not end the job"
    [ -e again/.index/identity ] || fail "$fault: nothing is left to be in the way"
    must 2 npr-index --set=again --factory=Flat
    index must 2 again
    same indexed again "after $fault=kill and an index of another factory"
done

# ---- stopped on request
rm -rf again
cp -r plain again
code=0
NPR_FAULT=index.part@0:2=stop index ranks 2 again || code=$?
[ "$code" = 75 ] || fail "stopped: exit code $code, wanted 75: $(cat err)"

# ---- stopped between two rounds of training, then other ranks
rm -rf again
cp -r plain again
code=0
NPR_FAULT=index.round@1:4=stop index ranks 3 again || code=$?
[ "$code" = 75 ] || fail "stopped while training: exit code $code, wanted 75: $(cat err)"
index must 2 again
grep -q "the centroids of an earlier run are used, after 4 rounds" err || fail "lists are trained from the start: $(cat err)"
same indexed again "stopped after four rounds of training"

# ---- stopped in a round, between two of its three blocks of rows: it is done again
rm -rf again whole
cp -r plain whole
cp -r plain again
must 2 npr-index --set=whole --factory=IVF16,SQ8 --sample=9300
code=0
NPR_FAULT=index.block@0:8=stop ranks 1 npr-index --set=again --factory=IVF16,SQ8 --sample=9300 || code=$?
[ "$code" = 75 ] || fail "stopped in a round: exit code $code, wanted 75: $(cat err)"
must 3 npr-index --set=again --factory=IVF16,SQ8 --sample=9300
grep -q "the centroids of an earlier run are used, after 2 rounds" err || fail "stopped in the third round: $(cat err)"
same whole again "stopped in a round of training"

# ---- the centroids are those that numpy finds: ten rounds over the rows of the sample
/usr/bin/python3 - <<'PY' || fail "numpy finds other centroids"
import h5py, numpy as np, struct
blob = h5py.File("indexed/part-00000.h5")["index"][()].tobytes()
at = blob.index(b"IxFI")
dim, lists = struct.unpack_from("<iq", blob, at + 4)
assert (dim, lists) == (48, 16)
at += 4 + 4 + 8 + 16 + 1 + 4 # dimensions, rows, two numbers unused, trained, metric
assert struct.unpack_from("<Q", blob, at)[0] in (lists * dim, lists * dim * 4)
got = np.frombuffer(blob, "<f4", lists * dim, at + 8).reshape(lists, dim)
def mix(v): # npr_mix64
    v = (v ^ (v >> np.uint64(30))) * np.uint64(0xbf58476d1ce4e5b9)
    v = (v ^ (v >> np.uint64(27))) * np.uint64(0x94d049bb133111eb)
    return v ^ (v >> np.uint64(31))
rows = np.concatenate([h5py.File(f"indexed/part-{p:05d}.h5")["emb"][:] for p in range(10)]).astype(np.float64)
order = np.argsort(mix(np.arange(len(rows), dtype=np.uint64) ^ np.uint64(1)))[:3000] # ids are row numbers, the seed is 1
x = rows[order]
centre = x[:lists]
for _ in range(10):
    of = (x @ centre.T).argmax(1)
    assert len(set(of)) == lists
    mean = np.stack([x[of == l].sum(0) for l in range(lists)])
    centre = (mean / np.linalg.norm(mean, axis=1, keepdims=True)).astype(np.float32).astype(np.float64)
assert np.abs(got - centre).max() < 1e-7, np.abs(got - centre).max()
PY

# ---- ids that repeat, as in a pool by class: rows of equal keys are cut by their place
/usr/bin/python3 -c 'import numpy as np; x = np.random.default_rng(6).normal(size=(15, 48)); np.save("q.npy", x.astype(np.float16))'
must 1 npr-ingest --kind=head --emb=q.npy --out=q --model=ViT-B-32 --normalize
must 2 npr-search --index=plain --head=q --k=1000 --part-rows=4000 --out=pool
rm -rf again
cp -r pool again
for seed in 1 2 3; do
    ((seed == 1 || !SANITIZED)) || break
    must 1 npr-index --set=pool --factory=IVF16,Flat --sample=2001 --seed=$seed
    for n in 2 3; do
        must $n npr-index --set=again --factory=IVF16,Flat --sample=2001 --seed=$seed
        same pool again "repeated ids, seed $seed, $n ranks"
    done
done

# ---- a set in this state belongs to that command
rm -rf again
cp -r plain again
NPR_FAULT=index.part@0:2=stop index ranks 2 again && fail "index.part@0:2=stop did not end the job"
expect 73 "again" 2 npr-index --set=again --factory=Flat
# damaged: what was trained is trained again
trained=$(find again -name trained.faiss)
truncate -s 1000 "${trained:-missing}"
index must 3 again
same indexed again "stopped, and its trained index damaged"

# ---- refused in one sentence, nothing written
refuse() { # CODE WORDS OPTIONS...
    expect "$1" "$2" 2 npr-index "${@:3}"
}
refuse 64 'FAISS cannot make an index "Foo"' --set=plain --factory=Foo
refuse 64 'multiple of the number of subquantizers' --set=plain --factory=IVF16,PQ7
refuse 64 'has 500 lists, which cannot be trained on a sample of 400 rows' --set=plain --factory=IVF500,Flat --sample=400
refuse 64 'number outside 1 to' --set=plain --factory=IVF0,Flat
refuse 64 'wanted 0 to' --set=plain --sample=-1
refuse 64 'give it or --factory, not both' --set=plain --factory=Flat --budget=24B
refuse 64 'wanted bytes per row, such as 24B' --set=plain --budget=much
refuse 64 'the smallest index of parts of 1024 rows, IVF32,PQ8x4fsr, takes 23.0 bytes per row; 17.0 are' --set=plain --budget=17B
refuse 64 'cannot train PQ12x13 on' --set=plain --factory=PQ12x13 --sample=3000
refuse 66 'nowhere' --set=nowhere
must 2 npr-index --set=plain --factory=IVF16,SQ8 --sample=3000 --dry-run
grep -q '^plan.index_bytes=551520$' out || fail "plan: $(grep ^plan out)" # 48 + 8 bytes a row, 16 centroids in each part

# ---- presets: what a budget buys, how much it takes in fact, and the same bytes as its factory string
while read -r budget factory; do
    spare && continue
    must 1 npr-index --set=plain --budget="$budget" --dry-run
    grep -qxF "result.factory=$factory" out || fail "--budget=$budget: $(grep factory out), wanted $factory"
    stated=$(sed -n 's/^plan.index_bytes=//p' out)
    rm -rf again other
    cp -r plain again
    cp -r plain other
    must 2 npr-index --set=again --budget="$budget" --threads=2
    must 1 npr-index --set=other --factory="$factory"
    same again other "--budget=$budget and --factory=$factory"
    /usr/bin/python3 - "$budget" "$stated" <<'PY' || fail "--budget=$budget: what it takes"
import glob, h5py, sys
budget, stated = float(sys.argv[1].rstrip("B")), int(sys.argv[2])
size = [(h5py.File(p)["index"].shape[0], h5py.File(p)["id"].shape[0]) for p in sorted(glob.glob("again/part-*.h5"))]
taken = sum(n for n, _ in size)
print(f"budget {budget}: {size[0][0] / size[0][1]:.1f} bytes a row in a full part, all stated {stated}, taken {taken}")
assert 0.85 < stated / taken < 1.1, (stated, taken)
assert size[0][0] <= 1.05 * budget * size[0][1], size[0]
PY
done <<'TABLE'
24B IVF32,PQ8x4fsr
27 IVF32,PQ12x4fsr
120B IVF128_HNSW32,SQ8
170B IVF128_HNSW32,SQfp16
TABLE
must 1 npr-ingest --kind=index --emb=x.npy --out=untouched --part-rows=1024 --model=ViT-B-32
same untouched plain "a set that was refused"

done_with index
