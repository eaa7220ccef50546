#!/bin/bash
# A pool's URLs out, its pictures back: npr-search --urls, tars as img2dataset writes them, npr-extract --join, npr-solve. The
# URLs as Arrow reads them; every row's picture by an independent join in Python; the same bytes for any ranks, orders of tars
# and after kills; what is missing, dead, changed, repeated, foreign and unreadable is counted, per class.
source "$(dirname "$0")/../lib.sh"
/usr/bin/python3 -c 'import numpy, h5py, PIL' 2>/dev/null || { echo "skipped: needs numpy, h5py and Pillow" && exit 77; }
HERE=$NPR_SOURCE/tests
model=(--model="$HERE/data/tiny_clip.safetensors" --config="$HERE/data/tiny_clip_gelu.json")
cut=("${model[@]}" --part-rows=13 --max-bad=0.2)
cd "$TMP"

# ---- an index of another tower, with captions that a table must not break; a pool of it
/usr/bin/python3 - <<'PY'
import numpy as np
rng, rows = np.random.default_rng(8), 240
x = rng.normal(size=(rows, 24))
np.save("x.npy", (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float16))
names = [b"kitten", b"red fox", b"caf\xc3\xa9", b"unseen"]
odd = [b'the "best" %s', b'"%s"', b"%s \xff\xfe broken", b"%s, a photo", b" %s ", b"%s \xe2\x80\xa8 line", b"a %s and a kitten"]
with open("x.tsv", "wb") as f:
    f.write(b"url\tcaption\twidth\theight\tsimilarity\n")
    for i in range(rows):
        caption = odd[i % len(odd)] % names[i % 3] if i % 4 else b"nothing"
        url = b"" if i in (5, 9) else b'http://x/%d.jpg?a="b"&c=d' % i
        f.write(b"%s\t%s\t%s\t%d\t%s\n" % (url, caption, b"" if i % 5 == 0 else b"%d" % (40 + i), 50, b"%.2f" % (i / 300)))
open("names.txt", "wb").write(b"\n".join(names) + b"\n")
PY
must 2 npr-ingest --emb=x.npy --meta=x.tsv --out=index --part-rows=90 --model=other-tower
cut -f2- x.tsv >bare.tsv
must 1 npr-ingest --emb=x.npy --meta=bare.tsv --out=bare --model=other-tower
search=(npr-search --index=index --mode=caption --names=names.txt --k=60 --min-side=45 --part-rows=50 --out=pool)
must 3 "${search[@]}"
must 2 "${search[@]}" --urls=urls.tsv
grep -q "nothing to do" err || fail "the URLs of a finished pool: $(cat err)"
cp urls.tsv first.tsv
rm -r pool
must 1 "${search[@]}" --urls=urls.tsv
same first.tsv urls.tsv "URLs"
facts out >facts
expect 65 "has no column url" 2 npr-search --index=bare --mode=caption --names=names.txt --urls=none.tsv --out=none
expect 73 "/proc: cannot create a file in it" 1 "${search[@]}" --urls=/proc/urls.tsv

# ---- the URLs: all of the pool's, once each, as a reader of quoted fields sees them; then "downloads"
/usr/bin/python3 - "$HERE/clip" <<'PY'
import csv, glob, io, json, os, random, sys, tarfile
import h5py, numpy as np
from PIL import Image
def texts(f, name):
    b, o = f[name][:].tobytes(), f[name + "_offset"][:]
    return [b[o[i]:o[i + 1]] for i in range(len(o) - 1)]
pool = {k: [] for k in ("id", "label", "url", "caption", "width", "height")}
for path in sorted(glob.glob("pool/part-*.h5")):
    with h5py.File(path) as f:
        for k in pool:
            pool[k] += texts(f, k) if k in ("url", "caption") else f[k][:].tolist()
with open("urls.tsv", encoding="utf-8", newline="") as f:
    rows = list(csv.reader(f, delimiter="\t", quotechar='"', doublequote=True, strict=True))
try:
    import pyarrow.csv as arrow
    table = arrow.read_csv("urls.tsv", parse_options=arrow.ParseOptions(delimiter="\t")).to_pydict()
    assert list(zip(table["url"], table["caption"], map(str, table["id"]))) == [tuple(r) for r in rows[1:]]
    print("Arrow reads the same")
except ImportError:
    pass
assert rows[0] == ["url", "caption", "id"]
clean = lambda b: b.decode("utf-8", "replace").replace("\t", " ")
want, seen = [], set()
for i, u, c in zip(pool["id"], pool["url"], pool["caption"]):
    if u and i not in seen:
        seen.add(i)
        want.append([clean(u), clean(c), str(i)])
assert rows[1:] == want, [(a, b) for a, b in zip(rows[1:], want) if a != b][:3]
facts = dict(line.rstrip("\n").split("=", 1) for line in open("facts"))
empty = sum(not u for u in pool["url"])
assert int(facts["result.urls"]) == len(want) and int(facts["result.urls_without"]) == empty > 0
assert int(facts["result.urls_repeated"]) == len(pool["id"]) - len(want) - empty > 0

# What became of each URL, as img2dataset would say it: 1 in 6 fails, 1 in 11 is never tried; some pictures are changed or bad.
rng, shards, status, story = random.Random(5), {}, {}, {}
os.makedirs("shards"), os.makedirs("logs")
for n, (url, caption, id) in enumerate(want):
    id, shard = int(id), n // 25
    if n % 11 == 7:
        continue
    meta = {"id": id, "caption": caption, "url": url, "key": f"{n:09d}", "status": "success", "error_message": None, "width": 64,
            "height": 48, "original_width": 40 + id, "original_height": 50, "exif": None, "sha256": "0" * 64}
    story[id] = set()
    if n % 6 == 4:
        meta.update(status="failed_to_download", error_message="HTTP Error 404: Not Found")
        status[id] = meta["status"]
        continue
    status[id] = "success"
    if n % 13 == 3: meta["original_width"] += 7; story[id].add("size")
    if n % 17 == 5: meta["caption"] += " changed"; story[id].add("text")
    if n % 19 == 6: meta["url"] += "x"; story[id].add("text")
    b = io.BytesIO()
    Image.effect_noise((rng.choice([40, 64]), 48), 60).convert("RGB").save(b, "JPEG", quality=80)
    data = b.getvalue()
    if n % 23 == 8: data = data[:len(data) // 2]; story[id].add("bad")
    shards.setdefault(shard, []).append((meta["key"], data, caption, meta))
def write(path, samples):
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as f:
        for key, data, caption, meta in samples:
            # webdataset's writer sorts the members of a sample by name
            for suffix, body in (("jpg", data), ("json", json.dumps(meta, indent=4).encode() if meta else None), ("txt", caption.encode())):
                if body is None: continue
                m = tarfile.TarInfo(f"{key}.{suffix}")
                m.size, m.mode, m.uname = len(body), 0o444, "bigdata"
                f.addfile(m, io.BytesIO(body))
one = shards[1][0]
twice = dict(one[3], key="000099999")
other = Image.new("RGB", (50, 50), (200, 10, 10)); b = io.BytesIO(); other.save(b, "JPEG"); red = b.getvalue()
last = max(shards)
shards[last] += [("000099999", red, one[2], twice), ("000099998", red, "a", dict(one[3], id=10 ** 12)), ("000099997", red, "a", None),
                 ("000099996", red, "a", {k: v for k, v in one[3].items() if k != "id"})]
for shard, samples in shards.items():
    write(f"shards/{shard:05d}.tar", samples)
os.makedirs("mixed")  # the same tars, named in another order, in other folders
for i, p in enumerate(sorted(glob.glob("shards/*.tar"))):
    os.makedirs(f"mixed/{9 - i}")
    os.link(p, f"mixed/{9 - i}/{os.path.basename(p)}")
open("mixed.txt", "w").write("\n".join(sorted(glob.glob("mixed/*/*.tar"))))
for k in (0, 1):
    with open(f"logs/{k:05d}.tsv", "w") as f:
        f.write("status\tid\n" if k else "id\tkey\tstatus\n")
        for id, s in list(status.items())[k::2]:
            f.write(f"{s}\t{id}\n" if k else f"{id}\t0\t{s}\n")
write("elsewhere.tar", [(f"{n:09d}", red, "x", {"id": 10 ** 12 + n, "url": "http://other", "caption": "of no row"}) for n in range(30)])
write("wrong.tar", [(f"{n:09d}", red, "x", {"id": pool["id"][n], "url": "http://other", "caption": "of another pool"}) for n in range(30)])
json.dump({"story": {str(k): sorted(v) for k, v in story.items()}, "status": status, "one": one[3]["id"]}, open("truth.json", "w"))
PY

# ---- any number of ranks, threads; any order of tars: the same bytes
join=(npr-extract --images='shards/*.tar' --join=pool --failed='logs/*.tsv' "${cut[@]}")
for n in 1 2 3; do
    must "$n" "${join[@]}" --threads=$((1 + n % 2)) --out="j$n"
    facts out >"facts$n"
    same j1 "j$n" "$n ranks"
    same facts1 "facts$n" "record of $n ranks"
done
must 2 npr-extract --images=@mixed.txt --join=pool --failed=logs "${cut[@]}" --out=jm
facts out | grep -v '^result.join.tars\|bytes_in' >factsm
same j1 jm "tars in another order"
must 3 "${join[@]}" --out=j1
same facts1 <(facts out) "record of a complete set"
must 2 npr-verify --set=j1
must 2 "${join[@]}" --drop-changed --out=dropped
facts out >facts-dropped
must 1 npr-extract --images='shards/*.tar' --join=pool "${cut[@]}" --out=unlogged
must 2 "${join[@]}" --out=none --dry-run
grep -q '^result.join.missing=' out || fail "a dry run does not count: $(cat out)"
must 1 npr-extract --images='shards/*.tar' --id-field=id "${model[@]}" --max-bad=0.5 --out=plain

# ---- row by row, with a join of our own
/usr/bin/python3 - <<'PY'
import glob, json
import h5py, numpy as np
def texts(f, name):
    b, o = f[name][:].tobytes(), f[name + "_offset"][:]
    return [b[o[i]:o[i + 1]] for i in range(len(o) - 1)]
def read(folder):
    out = {}
    for path in sorted(glob.glob(folder + "/part-*.h5")):
        with h5py.File(path) as f:
            names = texts(f, "container") if "container" in f else []
            for k in f:
                if k.endswith("_offset") or k == "container": continue
                if k + "_offset" in f: v = texts(f, k)
                elif k == "source": v = [(names[a] if a >= 0 else b"", b, c) for a, b, c in f[k][:].tolist()]
                else: v = list(f[k][:])
                out.setdefault(k, []).extend(v)
    return out
def table(path):
    lines = [l.rstrip("\n").split("\t") for l in open(path, encoding="utf-8")]
    return lines[0], {int(l[0]): l for l in lines[1:]}
truth = json.load(open("truth.json"))
story, status, pool, plain = truth["story"], truth["status"], read("pool"), read("plain")
picture = {}
for i, id in enumerate(plain["id"]):
    picture.setdefault(int(id), i)  # tars by name: the first of two with one id
for folder, facts, drop, logged in (("j1", "facts1", 0, 1), ("dropped", "facts-dropped", 1, 1), ("unlogged", None, 0, 0)):
    got, keep, count, skipped = read(folder), [], {}, []
    for i, id in enumerate(int(x) for x in pool["id"]):
        s, n = story.get(str(id), set()), count.setdefault(int(pool["label"][i]), dict.fromkeys("wanted missing dead changed unreadable kept".split(), 0))
        n["wanted"] += 1
        here = status.get(str(id)) == "success"
        if pool["width"][i] == 0: s = [x for x in s if x != "size"]
        changed = here and ("size" in s or "text" in s)
        n["changed"] += changed
        why = None
        if not here: why = "dead" if logged and str(id) in status else "missing"
        elif changed and drop: why = "changed"
        elif "bad" in s: why = "unreadable"
        if why == "changed": pass
        elif why: n[why] += 1
        else: n["kept"] += 1; keep.append(i)
        if why: skipped.append([str(i), str(id), {"unreadable": "truncated"}.get(why, why)])
    assert len(got["id"]) == len(keep) > 60
    for k in pool:
        if k in ("emb", "source"): continue
        same = [g == pool[k][i] or g != g and pool[k][i] != pool[k][i] for g, i in zip(got[k], keep)]
        assert all(same), (folder, k)
    for g, i in enumerate(keep):
        j = picture[int(pool["id"][i])]
        assert got["source"][g] == plain["source"][j] and (got["emb"][g] == plain["emb"][j]).all(), (folder, g)
    lines = [l.rstrip("\n").split("\t") for l in open(folder + "/skipped.tsv")]
    assert [[l[0], l[1], l[3]] for l in lines] == skipped, folder
    head, rows = table(folder + "/classes.tsv")
    before_head, before = table("pool/classes.tsv")
    assert head == before_head[:-1] + "wanted missing dead changed unreadable kept".split(), head
    for c, row in rows.items():
        assert row[:-6] == before[c][:-1] and before[c][-1] == row[-6], (folder, c)
        assert [int(x) for x in row[-6:]] == list(count.get(c, dict.fromkeys(range(6), 0)).values()), (folder, c, row, count.get(c))
    assert set(rows) == set(before) and rows[3][-6:] == ["0"] * 6
    if not facts: continue
    f = dict(l.rstrip("\n").split("=", 1) for l in open(facts))
    total = {k: sum(n[k] for n in count.values()) for k in ("wanted", "missing", "dead", "changed")}
    for k, v in total.items():
        assert v > 0 and int(f["result.join." + k]) == v, (k, v, f)
    assert f["result.join.pictures_repeated"] == "1" and f["result.join.repeated_first"] == str(truth["one"])
    assert f["result.join.pictures_foreign"] == "1" and f["result.join.foreign_first"] == str(10 ** 12)
    assert f["result.join.pictures_without_id"] == "2" and f["result.input"] == "join" and int(f["result.ok"]) == len(keep)
    assert int(f["result.join.changed_size"]) > 0 and int(f["result.join.changed_text"]) > 0
PY

# ---- killed or stopped, then other ranks
for fault in tar.read@0:40=kill extract.batch@0:2=kill extract.batch@1:1=kill part.rename@0:1=fail; do
    spare && continue
    rm -rf killed
    NPR_FAULT=$fault ranks 2 "${join[@]}" --out=killed && fail "$fault: ended with 0"
    [ ! -e killed/manifest.json ] || fail "$fault: a manifest too early"
    must 3 "${join[@]}" --out=killed
    same j1 killed "after $fault"
done
NPR_FAULT=extract.batch@0:2=stop expect 75 "run the same command again" 1 "${join[@]}" --out=stopped
must 2 "${join[@]}" --out=stopped
same j1 stopped "after a request to stop"

# ---- the account goes on into the primed head; the towers are not mixed
/usr/bin/python3 - <<'PY'
import json, numpy as np
rng = np.random.default_rng(1)
dim = json.load(open("j1/manifest.json"))["dim"]
x = rng.normal(size=(4, dim)); np.save("head.npy", (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32))
PY
name=$(/usr/bin/python3 -c 'import json; print(json.load(open("j1/manifest.json"))["model"])')
must 1 npr-ingest --kind=head --emb=head.npy --out=head --model="$name"
must 2 npr-solve --head=head --pool=j1 --alpha=0.5 --out=primed
head -1 primed/classes.tsv | grep -qx $'class\tname\tpool\tshots\tfallback\tmatched\tsimilarity\tnsfw\tsize\tclip\tcapped\toutranked\twanted\tmissing\tdead\tchanged\tunreadable\tkept' ||
    fail "the head's classes.tsv: $(head -1 primed/classes.tsv)"
same <(cut -f1,6- primed/classes.tsv) <(cut -f1,3- j1/classes.tsv) "the account in the head's table"
awk -F'\t' 'NR > 1 && $3 != $NF { bad = 1 } END { exit bad }' primed/classes.tsv || fail "rows of a class are not those kept"
[ "$(wc -l <primed/classes.tsv)" = 5 ] || fail "classes.tsv: $(cat primed/classes.tsv)"
expect 78 "model" 2 npr-solve --head=head --pool=pool --alpha=0.5 --out=mixed-towers
must 1 npr-ingest --kind=head --emb=head.npy --out=head-b --model=other-tower
expect 78 "model" 2 npr-solve --head=head-b --pool=j1 --alpha=0.5 --out=mixed-towers

# ---- refused
expect 65 "30 pictures, and none is of a row of it" 2 npr-extract --images=elsewhere.tar --join=pool "${cut[@]}" --out=none
expect 65 "the tars are of another pool" 2 npr-extract --images=wrong.tar --join=pool "${cut[@]}" --out=none
expect 64 "are no tars" 1 npr-extract --images=@names.txt --join=pool "${cut[@]}" --out=none
expect 64 "go with --join" 1 npr-extract --images=shards --drop-changed "${cut[@]}" --out=none
expect 66 "nowhere" 2 npr-extract --images=shards --join=nowhere "${cut[@]}" --out=none
expect 65 "its rows have no labels" 2 npr-extract --images=shards --join=bare "${cut[@]}" --out=none
printf 'id\tstate\n1\tx\n' >bad.tsv
expect 65 'wanted a header with the fields "id" and "status"' 2 npr-extract --images=shards --join=pool --failed=bad.tsv "${cut[@]}" --out=none
printf 'id\tstatus\nx\tfailed\n' >bad.tsv
expect 65 'bad.tsv: row 0 has no id and status' 2 npr-extract --images=shards --join=pool --failed=bad.tsv "${cut[@]}" --out=none
head -c 3000 shards/00001.tar >cut.tar
expect 65 "cut.tar: " 2 npr-extract --images=cut.tar --join=pool "${cut[@]}" --out=none
expect 65 "images cannot be used" 2 npr-extract --images=shards --join=pool "${model[@]}" --max-bad=0.001 --out=none
expect 73 "wanted" 2 npr-extract --images=shards --join=pool "${cut[@]}" --out=j1
NPR_FAULT=alloc@1:90 ranks 2 npr-extract --images=shards --join=pool "${cut[@]}" --out=none && fail "out of memory: ended with 0"
done_with join
