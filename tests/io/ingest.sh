#!/bin/bash
# npr-ingest end to end: the same bytes for any number of ranks and any form of the metadata, bad rows, kills, refusals.
source "$(dirname "$0")/../lib.sh"
/usr/bin/python3 -c 'import numpy, h5py' 2>/dev/null || { echo "skipped: needs numpy and h5py" && exit 77; }
W=$TMP/w
must 2 npr-minilaion --embeddings --out="$W" --rows=12000 --rows-per-file=2500 --dim=64 --classes=20 --tests=4 --seed=3
cut=(--part-rows=3000 --model=mini)
emb=(--emb="$W/img_emb" "${cut[@]}")
in=("${emb[@]}" --meta="$W/metadata")

# ---- any number of ranks; parts straddle files; again
sizes=(1 2 3 5 7)
((!SANITIZED)) || sizes=(1 5)
for n in "${sizes[@]}"; do
    must "$n" npr-ingest --out="$TMP/s$n" "${in[@]}"
    facts "$TMP/out" >"$TMP/facts$n"
    same "$TMP/s1" "$TMP/s$n" "$n ranks"
    same "$TMP/facts1" "$TMP/facts$n" "record of $n ranks"
done
find "$TMP/s1" -printf '%f %T@\n' | sort >"$TMP/before"
must 3 npr-ingest --out="$TMP/s1" "${in[@]}"
find "$TMP/s1" -printf '%f %T@\n' | sort >"$TMP/after"
same "$TMP/before" "$TMP/after" "a complete set is left alone"
facts "$TMP/out" >"$TMP/facts"
same "$TMP/facts1" "$TMP/facts" "record of a complete set"
must 2 npr-verify --set="$TMP/s1"
must 2 npr-verify --set="$TMP/s1" --dry-run
same <(printf '%s\n' plan.parts=4 plan.rows=12000 "plan.bytes=$(cat "$TMP"/s1/part-*.h5 | wc -c)") <(grep -E '^(plan|result|check)\.' "$TMP/out") \
    "what a dry run would read"
must 2 npr-ingest --out="$TMP/none" "${in[@]}" --dry-run
[ ! -e "$TMP/none" ] || fail "a dry run wrote something"
grep -q '^result.rows_in=12000$' "$TMP/out" && grep -q '^plan.memory_per_rank=' "$TMP/out" || fail "dry run: $(cat "$TMP/out")"

# ---- killed or stopped on the way, then another number of ranks
killed() { # FAULT RANKS RANKS-AFTERWARDS
    ! spare_kill "$1" || return 0
    NPR_FAULT=$1 ranks "$2" npr-ingest --out="$TMP/killed" "${in[@]}" && fail "$1: ended with 0"
    [ ! -e "$TMP/killed/manifest.json" ] || fail "$1: a manifest too early"
    must "$3" npr-ingest --out="$TMP/killed" "${in[@]}"
    same "$TMP/s1" "$TMP/killed" "after $1 on $2 ranks, then $3"
    rm -rf "$TMP/killed"
}
killed ingest.batch@0:1=kill 2 3
killed ingest.batch@0:2=kill 3 1
killed ingest.batch@0:3=kill 1 5
killed file.write@0:2=kill 2 2
killed part.rename@1:1=fail 2 1
NPR_FAULT=ingest.batch@1:1=stop expect 75 "run the same command again" 2 npr-ingest --out="$TMP/stopped" "${in[@]}"
must 5 npr-ingest --out="$TMP/stopped" "${in[@]}"
same "$TMP/s1" "$TMP/stopped" "after a request to stop"

# ---- the same metadata as JSON lines, without headers, with CR LF, in databases: the same parts
/usr/bin/python3 - "$W/metadata" "$TMP/m" <<'PY'
import glob, json, os, sqlite3, sys
for kind in ("jsonl", "plain", "crlf", "fts", "table"):
    os.makedirs(f"{sys.argv[2]}/{kind}")
for f in sorted(glob.glob(sys.argv[1] + "/*.tsv")):
    name = os.path.basename(f)[:-4]
    head, *rows = [l.split("\t") for l in open(f, encoding="utf-8", newline="").read().rstrip("\n").split("\n")]
    out = f"{sys.argv[2]}/%s/{name}.%s"
    with open(out % ("jsonl", "jsonl"), "w", encoding="utf-8") as t:
        for r in rows:
            d = dict(zip([h.upper() for h in head], r))
            d.update(SIMILARITY=float(d["SIMILARITY"]), WIDTH=int(d["WIDTH"]), more=[1, {"a": None}])
            t.write(json.dumps(d, ensure_ascii=len(rows) % 2 == 0) + "\n")
    open(out % ("plain", "tsv"), "w", encoding="utf-8", newline="").write("\n".join("\t".join(r) for r in rows))
    open(out % ("crlf", "tsv"), "w", encoding="utf-8", newline="").write("\r\n".join("\t".join(r) for r in [head] + rows))
    for kind, ddl in (("fts", "CREATE VIRTUAL TABLE samples USING fts5(%s)"), ("table", "CREATE TABLE samples(%s)")):
        db = sqlite3.connect(out % (kind, "sqlite"))
        db.execute(ddl % ", ".join({"caption": "TEXT"}.get(h, h) for h in head))
        db.executemany("INSERT INTO samples VALUES (?, ?, ?, ?, ?, ?)", rows)
        db.commit()
        db.close()
PY
for kind in jsonl plain crlf fts table; do
    [ $kind = plain ] && columns=("--columns=url,caption,similarity,NSFW,width,height") || columns=()
    must 3 npr-ingest --out="$TMP/$kind" "${emb[@]}" --meta="$TMP/m/$kind" "${columns[@]}"
    for part in "$TMP"/s1/part-*.h5; do same "$part" "$TMP/$kind/$(basename "$part")" "metadata as $kind"; done
done

# ---- bad rows, float32, heads, labels
/usr/bin/python3 - "$W" "$TMP/bad" <<'PY'
import glob, os, sys
import numpy as np
os.makedirs(sys.argv[2])
row0 = 0
bad = {5: "nan", 2499: "zero", 2500: "long", 2501: "inf", 7777: "-inf", 7778: "short", 11999: "nan"}
for f in sorted(glob.glob(sys.argv[1] + "/img_emb/*.npy")):
    x = np.load(f).astype(np.float32 if "0001" in f else np.float16)
    for i, what in bad.items():
        if row0 <= i < row0 + len(x):
            r = x[i - row0]
            if what in ("zero", "long", "short"): r *= {"zero": 0, "long": 1.02, "short": 0.5}[what]
            else: r[i % 64] = float(what)
    np.save(sys.argv[2] + "/" + os.path.basename(f), x)
    row0 += len(x)
PY
printf '5\tnon_finite\n2499\tzero\n2500\tnot_unit\n2501\tnon_finite\n7777\tnon_finite\n7778\tnot_unit\n11999\tnon_finite\n' >"$TMP/rejected"
bad=("${cut[@]}" --emb="$TMP/bad" --meta="$W/metadata")
expect 65 "rows cannot be used" 2 npr-ingest --out="$TMP/b1" "${bad[@]}" --max-bad=0.0005
grep -qF -- "--normalize scales rows to unit norm" "$TMP/err" || fail "no hint at --normalize: $(cat "$TMP/err")"
for n in 1 2 5; do
    must "$n" npr-ingest --out="$TMP/b$n" "${bad[@]}" --max-bad=0.001
    facts "$TMP/out" >"$TMP/facts$n"
    same "$TMP/b1" "$TMP/b$n" "bad rows, $n ranks"
    same "$TMP/facts1" "$TMP/facts$n" "record of bad rows, $n ranks"
done
same "$TMP/rejected" "$TMP/b1/rejected.tsv" "the list of rejected rows"
for line in rows=11993 rejected=7 rejected.non_finite=4 rejected.zero=1 rejected.not_unit=2; do
    grep -qx "result.$line" "$TMP/out" || fail "no result.$line: $(grep rejected "$TMP/out")"
done
must 3 npr-verify --set="$TMP/b1"
NPR_FAULT=ingest.batch@0:2=kill ranks 1 npr-ingest --out="$TMP/bk" "${bad[@]}" && fail "a killed run ended with 0"
must 2 npr-ingest --out="$TMP/bk" "${bad[@]}"
same "$TMP/b1" "$TMP/bk" "bad rows after a kill"
must 2 npr-ingest --out="$TMP/bn" "${bad[@]}" --normalize
grep -qx 'result.rejected.not_unit=0' "$TMP/out" && grep -qx 'result.rows=11995' "$TMP/out" || fail "--normalize: $(cat "$TMP/out")"

must 2 npr-ingest --out="$TMP/head" --emb="$W/text/head.npy" --meta="$W/text/head.tsv" --kind=head
must 2 npr-ingest --out="$TMP/test" --emb="$W/test/test.npy" --labels="$W/test/test_labels.txt" --kind=test --part-rows=30 --id-base=1000
/usr/bin/python3 - "$W" "$TMP" <<'PY' || fail "h5py does not find what was put in"
import glob, sys
import h5py
import numpy as np
w, tmp = sys.argv[1:]
def text(f, name):
    b, o = bytes(f[name][:]), f[name + "_offset"][:]
    return [b[o[i]:o[i + 1]] for i in range(len(o) - 1)]
rows = [l.rstrip("\n").split("\t") for m in sorted(glob.glob(w + "/metadata/*.tsv")) for l in list(open(m, encoding="utf-8", newline=""))[1:]]
emb = np.concatenate([np.load(f) for f in sorted(glob.glob(w + "/img_emb/*.npy"))])
bad = [int(l.split("\t")[0]) for l in open(tmp + "/rejected")]
for s, keep in (("s1", np.arange(12000)), ("b1", np.setdiff1d(np.arange(12000), bad))):
    got = [h5py.File(f, "r") for f in sorted(glob.glob(f"{tmp}/{s}/part-*.h5"))]
    ids = np.concatenate([g["id"][:] for g in got])
    assert (ids == keep).all()
    assert (np.concatenate([g["emb"][:] for g in got]).view("<u2") == emb[keep].view("<u2")).all()
    for k, name in ((0, "url"), (1, "caption")):
        assert sum([text(g, name) for g in got], []) == [rows[i][k].encode() for i in keep]
    assert (np.concatenate([g["similarity"][:] for g in got]) == np.array([float(rows[i][2]) for i in keep], "f4")).all()
    assert (np.concatenate([g["nsfw"][:] for g in got]) == [{"UNLIKELY": 1, "UNSURE": 2, "NSFW": 3}[rows[i][3]] for i in keep]).all()
    assert (np.concatenate([g["width"][:] for g in got]) == [int(rows[i][4]) for i in keep]).all()
    n = 0
    for g in got: # a row's source is where its vector lies
        names = text(g, "container")
        for (c, at, size), e in list(zip(g["source"][:], g["emb"][:]))[::37]:
            folder = tmp + "/bad/" if s == "b1" else w + "/img_emb/"
            with open(folder + names[c].decode(), "rb") as t:
                t.seek(at)
                raw = t.read(size)
            v = np.frombuffer(raw, "<f4" if size == 256 else "<f2").astype("<f2")
            assert (v.view("<u2") == e.view("<u2")).all()
            n += 1
    assert n > 300
f = h5py.File(tmp + "/head/part-00000.h5", "r")
head = np.load(w + "/text/head.npy")
assert (f["weight"][:] == head).all() and (f["emb"][:] == head.astype("<f2")).all()
assert list(f["label"][:]) == list(range(20)) and [b"caption"] + text(f, "caption") == open(w + "/text/head.tsv", "rb").read().split(b"\n")[:-1]
test = [h5py.File(g, "r") for g in sorted(glob.glob(tmp + "/test/part-*.h5"))]
assert list(np.concatenate([g["label"][:] for g in test])) == list(np.loadtxt(w + "/test/test_labels.txt", dtype=int))
assert list(np.concatenate([g["id"][:] for g in test])) == list(range(1000, 1080)) and len(test) == 3
PY

# ---- what must be refused: exit code, words, options
mkdir "$TMP/x" "$TMP/empty"
short=$TMP/x/metadata_0003.tsv
cp "$W"/metadata/*.tsv "$TMP/x/"
sed -i '$d' "$short"
printf 'caption\nx\n' >"$TMP/one.tsv"
seq 0 11998 >"$TMP/labels.txt"
(seq 0 11998 && echo cat) >"$TMP/words.txt"
mkdir "$TMP/renamed" && i=1 && for f in "$W"/metadata/*.tsv; do cp "$f" "$TMP/renamed/m_$((i *= 4)).tsv"; done
head -c 5000 "$W/img_emb/img_emb_0002.npy" >"$TMP/short.npy"
/usr/bin/python3 -c 'import numpy as n, sys; n.save(sys.argv[1] + "/d32.npy", n.zeros((3, 32), "<f2")); n.save(sys.argv[1] + "/none.npy", n.zeros((0, 64), "<f2")); n.save(sys.argv[1] + "/f8.npy", n.zeros((3, 64)))' "$TMP"
printf '%s\n' "$W/img_emb/img_emb_0000.npy" "$TMP/d32.npy" >"$TMP/list"
cp -r "$W/metadata" "$TMP/damaged" && sed -i '200s/\t/ /' "$TMP/damaged/metadata_0001.tsv"
cp -r "$TMP/m/fts" "$TMP/cutdb" && truncate -s -5000 "$TMP/cutdb/metadata_0002.sqlite"
export OMPI_MCA_odls_base_sigkill_timeout=0 # mpirun need not wait: what failed has said so
refuse() { # CODE WORDS OPTIONS...
    local code=$1 words=$2
    shift 2
    rm -rf "$TMP/refused"
    expect "$code" "$words" 2 npr-ingest --out="$TMP/refused" "$@"
    [ ! -e "$TMP/refused/manifest.json" ] || fail "a manifest in spite of: $words"
}
refuse 64 "--emb=FILES is needed: vectors" --meta="$W/metadata"
refuse 64 "labels from more than one place" "${in[@]}" --kind=head --labels="$TMP/labels.txt"
refuse 64 "none of these fields is known" "${emb[@]}" --meta="$TMP/m/plain" --columns=a,b
refuse 64 "its first line is a header" "${in[@]}" --columns=url,caption
refuse 64 "max-bad" "${in[@]}" --max-bad=2
refuse 65 "img_emb_0003.npy has 2500 rows, but its metadata $short has 2499" "${emb[@]}" --meta="$TMP/x"
refuse 65 "5 arrays in $W/img_emb, but 1 metadata files" "${emb[@]}" --meta="$TMP/one.tsv"
refuse 65 "img_emb_0001.npy would be paired with m_16.tsv" "${emb[@]}" --meta="$TMP/renamed"
refuse 65 "$TMP/labels.txt has 11999 labels, but there are 12000 rows" "${in[@]}" --labels="$TMP/labels.txt"
refuse 65 "words.txt:12000: label should be a class number or -1, found \"cat\"" "${in[@]}" --labels="$TMP/words.txt"
refuse 65 "metadata_0001.tsv:200: 5 fields between tabs, wanted 6" "${emb[@]}" --meta="$TMP/damaged"
refuse 65 "metadata_0002.sqlite: the database is damaged or truncated" "${emb[@]}" --meta="$TMP/cutdb"
refuse 65 "short.npy: truncated: it has 5000 bytes" --emb="$TMP/short.npy"
refuse 65 "an array of '<f8', wanted '<f2' or '<f4'" --emb="$TMP/f8.npy"
refuse 65 "d32.npy has rows of 32 values, $W/img_emb/img_emb_0000.npy of 64" --emb="@$TMP/list"
refuse 65 "none.npy: no rows" --emb="$TMP/none.npy"
refuse 65 "3 of 3 rows cannot be used (0 not finite, 3 zero, 0 not of unit norm)" --emb="$TMP/d32.npy"
refuse 65 "a head needs every class" --emb="$TMP/d32.npy" --kind=head --normalize --max-bad=1
refuse 66 "$TMP/nowhere: no such file" --emb="$TMP/nowhere"
refuse 66 "$TMP/empty: no such file" --emb="$TMP/empty"
refuse 66 "metadata (.tsv, .jsonl, .sqlite, .db): $TMP/empty" "${emb[@]}" --meta="$TMP/empty"
expect 73 'wanted "model=other"' 2 npr-ingest --out="$TMP/s1" --emb="$W/img_emb" --meta="$W/metadata" --part-rows=3000 --model=other
expect 73 "x: is neither empty nor a set" 2 npr-ingest --out="$TMP/x" "${in[@]}"
expect 73 "/proc/set" 2 npr-ingest --out=/proc/set "${in[@]}"
NPR_FAULT=npy.read@1:4 refuse 74 "cannot read" "${in[@]}"
NPR_FAULT=lines.read@1:2 refuse 74 "cannot read" "${in[@]}"
NPR_FAULT=file.write@0 refuse 74 "cannot write" "${in[@]}"
NPR_FAULT=ingest.batch@1 refuse 74 "injected fault at ingest.batch" "${in[@]}"
NPR_FAULT=alloc@1:40 refuse 70 "out of memory" "${in[@]}"

# a changed input is another set
cp -r "$W/metadata" "$TMP/changed" && sed -i '2s/[a-z]\t/!\t/' "$TMP/changed/metadata_0000.tsv"
expect 73 "metadata=metadata_0000.tsv" 2 npr-ingest --out="$TMP/s1" "${emb[@]}" --meta="$TMP/changed"

# ---- a full disk, then a larger one
mkdir "$TMP/disk"
if [ "$(id -u)" = 0 ] && mount -t tmpfs -o size=1500k none "$TMP/disk" 2>/dev/null; then
    trap 'umount "$TMP/disk"; rm -rf "$TMP"' EXIT
    expect 74 "No space left on device" 2 npr-ingest --out="$TMP/disk/s" "${in[@]}"
    mount -o remount,size=64m "$TMP/disk"
    must 3 npr-ingest --out="$TMP/disk/s" "${in[@]}"
    same "$TMP/s1" "$TMP/disk/s" "after a full disk"
    mount -o remount,ro "$TMP/disk"
    expect 73 "disk: cannot create a file in it: Read-only file system" 2 npr-ingest --out="$TMP/disk/t" "${in[@]}"
else
    echo "a full disk is not tried: no tmpfs can be mounted here" >&2
fi
done_with ingest
