#!/bin/bash
# npr-search end to end: the same bytes however it is run, killed or stopped; the answers of a plain search in numpy; the
# accounts of every row; and what it refuses.
# shellcheck source=tests/lib.sh
source "$(dirname "$0")/../lib.sh"
cd "$TMP"

# A world of 5,000 rows: 12 classes with rows near them, half of all rows near none, a third of the rows twice or more.
/usr/bin/python3 - <<'PY'
import numpy as np
rng, rows, classes, dim = np.random.default_rng(3), 5000, 12, 48
unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)
centre = unit(rng.normal(size=(classes, dim)))
of = rng.integers(0, 2 * classes, rows)
x = unit(np.where(of[:, None] < classes, centre[of % classes], 0) + 0.3 * rng.normal(size=(rows, dim))).astype(np.float16)
twice = rng.integers(0, rows, rows // 3)
x[twice] = x[rng.integers(0, rows, rows // 3)]
np.save("x.npy", x)
names = ["kitten", "jack-o'-lantern", "potter's wheel", "great white shark", "white shark", "bow", "caf\u00e9", "T-shirt", "dog", "tabby cat", "red fox", "unseen"]
words = names[:-1] + ["a", "photo", "of", "the", "white", "Shark", "CAFE", "kittens", "Bow-tie", "-", "on", "wheel", "fox"]
with open("x.tsv", "w") as f:
    f.write("url\tcaption\tsimilarity\tnsfw\twidth\theight\tlabel\n")
    for i in range(rows):
        caption = " ".join(words[w] for w in rng.integers(0, len(words), rng.integers(0, 9)))
        f.write(f"http://x/{i}.jpg\t{caption}\t{'' if i % 17 == 0 else round(rng.random(), 2)}\t"
                f"{['UNLIKELY', 'UNSURE', 'NSFW', ''][i % 4]}\t{rng.integers(50, 500)}\t{rng.integers(50, 500)}\t{of[i] if of[i] < classes else -1}\n")
np.save("head.npy", unit(centre + 0.05 * rng.normal(size=(classes, dim))).astype(np.float32))
open("head.tsv", "w").write("caption\n" + "".join(n + "\n" for n in names))
open("names.txt", "w").write("".join(n + {"dog": "\tpuppy", "bow": "\tbow tie", "T-shirt": "\ttee"}.get(n, "") + "\n" for n in names))
np.save("q.npy", unit(centre[np.arange(40) % classes] + 0.2 * rng.normal(size=(40, dim))).astype(np.float16))
np.savetxt("q.labels", np.arange(40) % classes, fmt="%d")
np.save("narrow.npy", unit(rng.normal(size=(classes, 32))).astype(np.float16))
np.save("far.npy", -unit(np.ones((1, dim))).astype(np.float16))
PY
must 2 npr-ingest --emb=x.npy --meta=x.tsv --out=index --part-rows=700 --model=A
must 3 npr-ingest --emb=x.npy --meta=x.tsv --out=index-other-parts --part-rows=1999 --model=A
must 1 npr-ingest --kind=head --emb=head.npy --meta=head.tsv --out=head --model=A
must 1 npr-ingest --kind=test --emb=q.npy --labels=q.labels --out=queries --model=A
must 1 npr-ingest --kind=test --emb=q.npy --out=unlabelled --model=A
must 1 npr-ingest --kind=head --emb=narrow.npy --out=narrow --model=A
must 1 npr-ingest --kind=head --emb=head.npy --meta=head.tsv --out=head-b --model=B
must 1 npr-ingest --emb=x.npy --out=bare --model=A
cp -r index indexed
must 2 npr-index --set=indexed --factory=IVF8,SQ8 --sample=2000
cp -r index-other-parts indexed-other-parts
must 2 npr-index --set=indexed-other-parts --factory=IVF8,SQ8 --sample=2000

exact=(--index=index --head=head --k=37)
filtered=("${exact[@]}" --clip-filter --clip-threshold=0.2 --min-similarity=0.1 --max-nsfw=unsure --min-side=80)
images=(--index=index --queries=queries --k=25)
row=(--index=index --queries=queries --head=head --clip-filter --pool=row --k=20 --part-rows=100)
hash=(--mode=caption --index=index --names=names.txt --k=30 --seed=9)
similar=(--mode=caption --index=index --head=head --names=names.txt --k=30 --cap-by=similarity --clip-filter --max-nsfw=unlikely)
faiss=(--mode=faiss --index=indexed --head=head --k=20 --nprobe=3 --refine=3 --recall-queries=5 --min-side=60)
best=("${hash[@]}" --head=head --keep-per-class=9 --max-nsfw=unsure)
byhead=(--mode=caption --index=index --head=head --names=names.txt --k=11 --cap-by=head --min-side=60)
semantic=("${exact[@]}" --clip-filter --keep-per-class=5)
rowbest=(--index=index --queries=queries --head=head --pool=row --k=20 --keep-per-class=6 --part-rows=40)
near=(--index=index --queries=queries --pool=row --k=60 --min-score=0.7)
kinds=(exact filtered images row hash similar faiss best byhead semantic rowbest near)

# ---- the same bytes for any ranks, threads, tiles and batches
for kind in "${kinds[@]}"; do
    declare -n options=$kind
    must 1 npr-search "${options[@]}" --out="$kind"
    facts out >"$kind.facts"
    hows=("2 2 16384 0" "3 1 1 5" "5 1 333 1" "7 2 700 7")
    [[ $kind != exact && $kind != hash ]] || hows=("3 1 1 5" "7 2 700 7") # filtered and similar do all that these do
    ((!SANITIZED)) || hows=("3 2 333 5")
    for how in "${hows[@]}"; do
        read -r n threads tile batch <<<"$how"
        [ "$kind/$n" = filtered/5 ] && batch=12 # a run whose batches are the index's own
        must "$n" npr-search "${options[@]}" --out=again --threads="$threads" --tile-rows="$tile" --query-batch="$batch"
        facts out >again.facts
        same "$kind" again "$kind on $n ranks, $threads threads, tiles of $tile, batches of $batch"
        same "$kind.facts" again.facts "record of $kind on $n ranks, $threads threads, tiles of $tile, batches of $batch"
        rm -r again
    done
done

# ---- the same rows however the index is cut into parts; FAISS's candidates are the best of all parts together
for kind in filtered row similar best byhead rowbest faiss; do
    spare && continue
    declare -n options=$kind
    other=("${options[@]/%=index/=index-other-parts}")
    must 5 npr-search "${other[@]/%=indexed/=indexed-other-parts}" --out=again # more ranks than parts
    for file in "$kind"/part-*.h5; do same "$file" "again/${file##*/}" "$kind of an index in other parts"; done
    same "$kind/classes.tsv" again/classes.tsv "classes of an index in other parts"
    rm -r again
done

# ---- run again: nothing to do, the same record
must 2 npr-search "${similar[@]}" --out=similar
same similar.facts <(facts out) "record of a search that was done already"
grep -q "nothing to do" err || fail "a second run does not say that there is nothing to do"

# ---- a killed, failed or stopped run goes on, on other ranks
survive() { # KIND FAULT RANKS RANKS-AFTER [SECOND-FAULT]
    local -n options=$1
    spare && return
    rm -rf again
    NPR_FAULT=$2 ranks "$3" npr-search "${options[@]}" --out=again && fail "$1: $2 did not end the run"
    [ ! -e again/manifest.json ] || fail "$1: a manifest after $2"
    [ $# -lt 5 ] || { NPR_FAULT=$5 ranks "$4" npr-search "${options[@]}" --out=again && fail "$1: $5 did not end the run"; }
    must "$4" npr-search "${options[@]}" --out=again
    grep -q "scanned by an earlier run" err || [[ $2 == *part@0:1=* ]] || fail "$1: after $2 all was scanned again"
    facts out >again.facts
    same "$1" again "$1 after $2"
    same "$1.facts" again.facts "record of $1 after $2"
}
survive filtered search.part@1:2=kill 2 3
survive exact search.part@0:1=kill 3 2
survive similar search.journal@0:3=kill 2 5 search.part@0:1=kill
survive hash search.journal@2:1=fail 3 1
survive faiss search.part@0:4=kill 1 2 # eight parts: the fourth exact one, then one of candidates, then one rescored
survive faiss search.part@0:12=kill 1 3
survive faiss search.journal@0:20=kill 1 2 search.part@1:2=kill
survive row pool.batch@1:1=kill 3 2
survive row pool.batch@0:2=fail 2 7
survive images search.part@1:2=stop 3 2
survive rowbest keep.rows@1:1=kill 3 2
survive best keep.rows@0:2=fail 2 3
survive exact search.part@0:2=stop 1 3
code=0
rm -r again
NPR_FAULT=search.part@0:2=stop ranks 1 npr-search "${exact[@]}" --out=again || code=$?
[ "$code" = 75 ] || fail "a stopped run ends with $code, wanted 75"
rm -r again

# ---- many batches: finished ones are taken in, and a journal is read twice by a run that goes on, whatever their number
fact() { sed -n "s/^$1=//p" out; }
left() { cat again/.work/scan-*.log | wc -c; }
each=("${exact[@]}" --query-batch=1) # 12 batches, 8 parts: 96 records
must 1 npr-search "${each[@]}" --out=again
[ "$(fact run.journal_bytes_read)" = 0 ] || fail "a run reads the journals that it writes itself"
scanned=$(fact run.bytes_scanned)
rm -r again
NPR_FAULT=search.part@0:93=kill ranks 1 npr-search "${each[@]}" --out=again && fail "a fault in the last batch did not end the run"
NPR_FAULT=search.part@0:3=kill ranks 2 npr-search "${exact[@]}" --query-batch=5 --out=again && fail "a fault in batches of another size did not end the run"
all=$(left)
must 3 npr-search "${each[@]}" --out=again
same exact again "exact, killed in the last of 12 batches"
(($(fact run.bytes_scanned) < scanned / 16)) ||
    fail "a run that has 4 of 96 parts left scanned $(fact run.bytes_scanned) of $scanned bytes"
read=$(fact run.journal_bytes_read)
((read > all && read < 2 * all)) || fail "journals of $all bytes were read to $read bytes"
rm -r again

# ---- the answers of a plain search
must 2 npr-search "${exact[@]}" --clip-filter --out=semantic_all
/usr/bin/python3 - <<'PY'
import re, unicodedata
def tokens(text):
    plain = "".join(c for c in unicodedata.normalize("NFD", text.lower()) if not unicodedata.combining(c))
    return " ".join(re.findall(r"[a-z0-9]+", plain))
lines = [l.rstrip("\n").split("\t")[1] for l in open("x.tsv")][1:]
open("tokens.txt", "w").write("".join(tokens(l) + "\n" for l in lines))
open("tokens-names.txt", "w").write("".join("\t".join(tokens(p) for p in l.rstrip("\n").split("\t")) + "\n" for l in open("names.txt")))
PY
/usr/bin/python3 - <<'PY' || fail "the answers differ from numpy's"
import glob, h5py, numpy as np
def pool(name):
    parts = [h5py.File(p) for p in sorted(glob.glob(name + "/part-*.h5"))]
    columns = [c for c in ("emb", "id", "label", "score", "similarity", "count") if c in parts[0]]
    return {c: np.concatenate([p[c][:] for p in parts]) for c in columns}
def best(score, ids, k):
    return sorted(zip(-score, ids))[:k]
def same(got, want):
    assert [int(i) for i in got["id"]] == [w[0] for w in want], (got["id"][:9], want[:9])
    assert [int(l) for l in got["label"]] == [w[1] for w in want]
    assert np.allclose(got["score"], [w[2] for w in want], rtol=0, atol=1e-7)
x16 = np.load("x.npy")
with h5py.File("head/part-00000.h5") as f: head = f["weight"][:].astype(np.float64)
with h5py.File("queries/part-00000.h5") as f: q, qlabel = f["emb"][:].astype(np.float64), f["label"][:]
parts = [h5py.File(p) for p in sorted(glob.glob("index/part-*.h5"))]
col = {c: np.concatenate([p[c][:] for p in parts]) for c in ("emb", "id", "label", "similarity", "nsfw", "width", "height")}
x, ids = col["emb"].astype(np.float64), col["id"]
assert np.abs(x - x16.astype(np.float64)).max() < 1e-3
s = x @ head.T
same(pool("exact"), [(int(i), c, -v) for c in range(12) for v, i in best(s[:, c], ids, 37)])
p = np.exp(100 * (s - s.max(1, keepdims=True)))
p = p.max(1) / p.sum(1)
own = s.argmax(1)
ok = ~(col["similarity"] < np.float32(0.1)) & (col["nsfw"] <= 2) & (np.minimum(col["width"], col["height"]) >= 80)
want = []
table = [l.rstrip("\n").split("\t") for l in open("filtered/classes.tsv")][1:]
sim, nsfw = col["similarity"] < np.float32(0.1), col["nsfw"] > 2
for c in range(12):
    keep = ok & (own == c) & (p >= 0.2)
    hits = best(s[keep, c], ids[keep], 37)
    want += [(int(i), c, -v) for v, i in hits]
    size = ~sim & ~nsfw & ~ok
    counts = [5000, sim.sum(), (nsfw & ~sim).sum(), size.sum(), ok.sum() - keep.sum(), keep.sum() - len(hits), 0, len(hits)]
    assert [int(n) for n in table[c][2:]] == [int(n) for n in counts], (table[c], counts)
same(pool("filtered"), want)
sq = x @ q.T
want = {}
for c in range(40):
    for v, i in best(sq[:, c], ids, 25):
        key = (int(qlabel[c]), int(i))
        want[key] = max(want.get(key, -9), -v)
same(pool("images"), [(i, l, v) for l, i, v in sorted(((l, i, v) for (l, i), v in want.items()), key=lambda t: (t[0], -t[2], t[1]))])
keep = own == col["label"]
union = {}
for c in range(40):
    for v, i in best(sq[keep, c], ids[keep], 20): union[int(i)] = max(union.get(int(i), -9), -v)
same(pool("row"), [(i, int(col["label"][i]), union[i]) for i in sorted(union)])
# how many queries recalled a row
recalls = {}
for c in range(40):
    for v, i in best(sq[keep, c], ids[keep], 20): recalls[int(i)] = recalls.get(int(i), 0) + 1
got = pool("row")
assert got["count"].dtype == np.int32 and got["count"].tolist() == [recalls[i] for i in sorted(union)]
assert got["count"].max() > 1 and (pool("exact")["count"] == 1).all() and "count" not in pool("hash")
assert pool("images")["count"].sum() == 40 * 25 # every hit is counted, though a class has several queries
def table_of(name):
    return [l.rstrip("\n").split("\t") for l in open(name + "/classes.tsv")]
row = table_of("row")
assert row[0] == ["class", "name", "recalled", "count", "outranked", "kept"]
for c in range(12):
    of_class = got["label"] == c
    assert [int(n) for n in row[1 + c][2:]] == [of_class.sum(), got["count"][of_class].sum(), 0, of_class.sum()]
# the best of each class by the head's own row, after all else
own_score = {int(i): s[n] for n, i in enumerate(ids)}
def keep_best(rows, n): # rows: (id, class)
    return {c: best(np.array([own_score[i][c] for i, l in rows if l == c]), [i for i, l in rows if l == c], n) for c in range(12)}
hashed = pool("best")
capped = pool("hash") # the same cap by hash, without the limit on nsfw: only to see that rows come from the captions
assert len(hashed["id"]) == 9 * 11 and (np.diff(hashed["label"]) >= 0).all()
for c in range(12):
    v = hashed["score"][hashed["label"] == c]
    assert (np.diff(v) <= 0).all() and np.allclose(v, [own_score[int(i)][c] for i in hashed["id"][hashed["label"] == c]], rtol=0, atol=1e-6)
for line in table_of("best")[1:12]:
    n = [int(v) for v in line[2:]]
    assert n[0] == sum(n[1:]) and n[6] == 21 and n[7] == 9, line # 30 by hash, 9 of them kept
best_of = keep_best([(int(i), int(l)) for i, l in zip(pool("semantic_all")["id"], pool("semantic_all")["label"])], 5)
same(pool("semantic"), [(int(i), c, -v) for c in range(12) for v, i in best_of[c]])
everything = {}
for c in range(40):
    for v, i in best(sq[:, c], ids, 20): everything[int(i)] = everything.get(int(i), 0) + 1
label_of = dict(zip(ids.tolist(), col["label"].tolist()))
best_of = keep_best([(i, label_of[i]) for i in everything if label_of[i] >= 0], 6)
want = sorted((int(i), c, -v) for c in range(12) for v, i in best_of[c])
same(pool("rowbest"), want)
assert pool("rowbest")["count"].tolist() == [everything[w[0]] for w in want]
kept, unlabelled = table_of("rowbest")[1:], sum(label_of[i] < 0 for i in everything)
assert sum(int(l[2]) for l in kept) + unlabelled == len(everything) and sum(int(l[5]) for l in kept) == len(want)
got = pool("near")
want = {}
for c in range(40):
    for v, i in best(sq[:, c], ids, 60):
        if -v >= 0.7: want[int(i)] = max(want.get(int(i), -9), -v)
assert 0 < len(want) and got["id"].tolist() == sorted(want), (len(want), len(got["id"]))
# cap by head: the best of all captions that name the class, in one pass
tokens = [" " + " ".join(c.split()) + " " for c in open("tokens.txt").read().splitlines()]
names = [l.rstrip("\n").split("\t") for l in open("tokens-names.txt")]
got = pool("byhead")
side = np.minimum(col["width"], col["height"]) >= 60
for c in range(12):
    rows = [n for n in range(5000) if side[n] and any(" " + p + " " in tokens[n] for p in names[c])]
    hits = best(s[rows, c], ids[rows], 11)
    assert got["id"][got["label"] == c].tolist() == [int(i) for v, i in hits], c
    assert np.allclose(got["score"][got["label"] == c], [-v for v, i in hits], rtol=0, atol=1e-6)
got = pool("similar") # caption search stores the similarity
assert ((got["score"] == got["similarity"]) | np.isnan(got["similarity"])).all()
for l in open("similar/classes.tsv").readlines()[1:] + open("hash/classes.tsv").readlines()[1:]:
    n = [int(v) for v in l.split("\t")[2:]]
    assert n[0] == sum(n[1:]), l
PY
grep -q '^result.classes_empty=1$' hash.facts && grep -q '^result.classes_empty_first=11 unseen$' hash.facts ||
    fail "an empty class is not named: $(grep empty hash.facts)"
grep -Eq '^result.recall_at_k=0?\.?[0-9]+' faiss.facts || fail "no recall in FAISS mode"

# ---- an empty pool is a set too
printf 'nosuchword\n' >none.txt
must 3 npr-search --mode=caption --index=index --names=none.txt --out=empty
grep -q "the pool is empty" err || fail "an empty pool is not warned of"
grep -qx 'result.pool_rows=0' out || fail "an empty pool has rows"
must 2 npr-verify --set=empty

# ---- a plan writes nothing
must 2 npr-search "${filtered[@]}" --out=planned --dry-run
[ ! -e planned ] || fail "--dry-run wrote a folder"
grep -q '^plan.memory_gib_per_rank_most=' out || fail "--dry-run does not tell the memory"

# ---- what does not fit together
expect 64 "needs --queries or --head" 2 npr-search --index=index --out=y
expect 64 "needs --names" 2 npr-search --index=index --mode=caption --out=y
expect 64 "needs --head" 2 npr-search --index=index --queries=queries --clip-filter --out=y
expect 64 "for caption search" 2 npr-search --index=index --head=head --names=names.txt --out=y
expect 64 "is exact" 2 npr-search "${exact[@]}" --recall-queries=3 --out=y
expect 64 "--keep-per-class needs --head" 1 npr-search "${hash[@]}" --keep-per-class=3 --out=y
expect 64 "--cap-by=head needs --head" 1 npr-search "${hash[@]}" --cap-by=head --out=y
expect 64 "--min-score is for" 1 npr-search "${hash[@]}" --min-score=0.5 --out=y
expect 78 "model" 2 npr-search "${hash[@]}" --head=head-b --keep-per-class=3 --out=y
expect 78 "model" 2 npr-search --index=index --queries=queries --head=head-b --clip-filter --pool=row --out=y
expect 66 "nowhere" 3 npr-search --index=nowhere --head=head --out=y
expect 66 "nowhere.txt" 3 npr-search --mode=caption --index=index --names=nowhere.txt --out=y
expect 78 "32" 2 npr-search --index=index --head=narrow --out=y
expect 78 "model" 2 npr-search --index=index --head=head-b --out=y
expect 78 'no column "tokens"' 2 npr-search --mode=caption --index=bare --names=names.txt --out=y
expect 78 'no column "similarity"' 2 npr-search --index=bare --head=head --min-similarity=0.2 --out=y
expect 78 'no column "label"' 2 npr-search --index=bare --queries=queries --pool=row --out=y
expect 78 "--pool=row" 2 npr-search --index=index --queries=unlabelled --out=y
expect 78 "npr-index" 2 npr-search --mode=faiss --index=index --head=head --out=y
printf 'cat\n\n' >blank.txt
expect 65 "line 2" 2 npr-search --mode=caption --index=index --names=blank.txt --out=y
printf 'cat\0dog\n' >zero.txt
expect 65 "zero byte" 2 npr-search --mode=caption --index=index --names=zero.txt --out=y
head -3 names.txt >three.txt
expect 78 "3 classes" 2 npr-search "${similar[@]/names.txt/three.txt}" --out=y
expect 73 "exact" 2 npr-search "${filtered[@]}" --out=exact
[ ! -e y ] || fail "a refused command left a folder"
printf 'cat\ndog\tcat\n' >shared.txt
must 2 npr-search --mode=caption --index=index --names=shared.txt --out=shared
grep -q "more than one class" err || fail "a name of two classes is not warned of"

# ---- class files of other systems, and names with quotes and slashes: the same classes, or said to be none
printf 'kitten\njack-o'"'"'-lantern\n"T-shirt"\ncaf\303\251/dog\n' >plain.txt
printf '\357\273\277kitten\r\njack-o'"'"'-lantern\r\n"T-shirt"\r\ncaf\303\251/dog' >windows.txt
must 2 npr-search --mode=caption --index=index --names=plain.txt --out=plain
must 3 npr-search --mode=caption --index=index --names=windows.txt --out=windows
for file in plain/part-*.h5 plain/classes.tsv; do same "$file" "windows/${file##*/}" "a class file with CR LF and a byte order mark"; done
[ "$(awk -F'\t' 'NR > 1 && $3 > 0' plain/classes.tsv | wc -l)" = 4 ] || fail "quoted names: $(cat plain/classes.tsv)"
printf 'kitten\nmissile\nmissile\n' >twice.txt
must 1 npr-search --mode=caption --index=index --names=twice.txt --out=twice
grep -q '"missile" stands for classes 1 (missile) and 2 (missile)' err || fail "a name given twice is not warned of: $(cat err)"
printf 'kitten\n""/-\n' >marks.txt
expect 65 "line 2" 1 npr-search --mode=caption --index=index --names=marks.txt --out=z

done_with search
