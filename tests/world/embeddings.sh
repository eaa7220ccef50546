#!/bin/bash
# npr-minilaion end to end: the same bytes for any number of ranks, resumed after kills, numpy reads what it promises.
source "$(dirname "$0")/../lib.sh"
world=(--rows=20000 --rows-per-file=1500 --dim=64 --classes=30 --tests=10 --seed=5)

sizes=(1 2 3 5)
((!SANITIZED)) || sizes=(1 2 3)
for n in "${sizes[@]}"; do
    must "$n" npr-minilaion --embeddings --out="$TMP/w$n" "${world[@]}"
    facts "$TMP/out" >"$TMP/facts$n"
    same "$TMP/w1" "$TMP/w$n" "$n ranks"
    same "$TMP/facts1" "$TMP/facts$n" "record of $n ranks"
done

# again: nothing is written
find "$TMP/w1/img_emb" "$TMP/w1/metadata" -printf '%f %T@\n' | sort >"$TMP/before"
must 3 npr-minilaion --embeddings --out="$TMP/w1" "${world[@]}"
find "$TMP/w1/img_emb" "$TMP/w1/metadata" -printf '%f %T@\n' | sort >"$TMP/after"
same "$TMP/before" "$TMP/after" "a complete world is left alone"

# a run that lost files, or was killed or stopped on the way, is finished by the next
rm "$TMP/w2/img_emb/img_emb_0003.npy" "$TMP/w2/metadata/metadata_0011.tsv" "$TMP/w2/text/head.npy"
must 2 npr-minilaion --embeddings --out="$TMP/w2" "${world[@]}"
same "$TMP/w1" "$TMP/w2" "files made again"
NPR_FAULT=file.rename@1:2=kill ranks 2 npr-minilaion --embeddings --out="$TMP/killed" "${world[@]}" && fail "a killed run ended with 0"
must 3 npr-minilaion --embeddings --out="$TMP/killed" "${world[@]}"
same "$TMP/w1" "$TMP/killed" "after a kill"
NPR_FAULT=file.rename@0:4=stop expect 75 "run the same command again" 2 npr-minilaion --embeddings --out="$TMP/stopped" "${world[@]}"
must 1 npr-minilaion --embeddings --out="$TMP/stopped" "${world[@]}"
same "$TMP/w1" "$TMP/stopped" "after a request to stop"

# a smaller world is the beginning of a larger one
must 2 npr-minilaion --embeddings --out="$TMP/small" "${world[@]/--rows=20000/--rows=3000}"
same "$TMP/w1/img_emb/img_emb_0001.npy" "$TMP/small/img_emb/img_emb_0001.npy" "rows of a smaller world"

# what must be refused
expect 73 'wanted "seed=6", found "seed=5"' 2 npr-minilaion --embeddings --out="$TMP/w1" "${world[@]/--seed=5/--seed=6}"
expect 64 "dim 100" 2 npr-minilaion --embeddings --out="$TMP/none" "${world[@]/--dim=64/--dim=100}"
NPR_FAULT=file.write@0 expect 74 "cannot write" 2 npr-minilaion --embeddings --out="$TMP/full" "${world[@]}"
head -c 1000 "$TMP/w3/img_emb/img_emb_0000.npy" >"$TMP/short"
mv "$TMP/short" "$TMP/w3/img_emb/img_emb_0000.npy"
ranks 2 npr-minilaion --embeddings --out="$TMP/w3" "${world[@]}" && fail "a truncated file passed for a finished one"

/usr/bin/python3 -c 'import numpy' 2>/dev/null || { echo "minilaion: numpy is missing, its checks are skipped" >&2 && done_with minilaion && exit; }
/usr/bin/python3 - "$TMP/w1" <<'PY' || fail "numpy does not find what was promised"
import csv, glob, sys
import numpy as np
w = sys.argv[1]
files = sorted(glob.glob(w + "/img_emb/*.npy"))
x = np.concatenate([np.load(f) for f in files])
assert len(files) == 14 and x.shape == (20000, 64) and x.dtype == np.float16
assert abs(np.linalg.norm(x.astype(float), axis=1) - 1).max() < 2e-3
rows = []
for f in sorted(glob.glob(w + "/metadata/*.tsv")):
    with open(f, encoding="utf-8", newline="") as t:
        lines = t.read().split("\n")
    assert lines[0] == "url\tcaption\tsimilarity\tNSFW\twidth\theight" and lines[-1] == ""
    rows += [l.split("\t") for l in lines[1:-1]]
assert len(rows) == 20000 and all(len(r) == 6 for r in rows)
assert all(r[3] in ("UNLIKELY", "UNSURE", "NSFW") and int(r[4]) > 0 and int(r[5]) > 0 and abs(float(r[2])) < 1 for r in rows)
names = [l.rstrip("\n").split("\t")[0] for l in open(w + "/text/classes.txt")]
assert [l.rstrip("\n") for l in open(w + "/text/head.tsv")] == ["caption"] + names and len(set(names)) == 30
head = np.load(w + "/text/head.npy")
assert head.shape == (30, 64) and head.dtype == np.float32 and abs(np.linalg.norm(head, axis=1) - 1).max() < 1e-5
right = {}
for test, n in (("test", 300), ("test_id", 300), ("shots", 300)):
    t = np.load(f"{w}/test/{test}.npy")
    y = np.loadtxt(f"{w}/test/{test}_labels.txt", dtype=int)
    assert t.shape == (n, 64) and list(y) == [i % 30 for i in range(n)]
    right[test] = ((t.astype(np.float32) @ head.T).argmax(1) == y).mean()
assert 0.4 < right["test"] < right["test_id"] < 1, right
PY
# a folder that was no world before keeps all it holds
mkdir -p "$TMP/own/text"
touch "$TMP/own/x.tmp.1" "$TMP/own/text/x.tmp.1"
must 1 npr-minilaion --embeddings --out="$TMP/own" --rows=1000 --dim=64
[ -e "$TMP/own/x.tmp.1" ] && [ -e "$TMP/own/text/x.tmp.1" ] || fail "files of others were removed"
rm -r "$TMP/own"
# what another run has not finished yet is left alone while that run is alive, and goes with the next run after it
touch "$TMP/w1/text/x.npy.tmp.1"
/usr/bin/python3 -c 'import fcntl, subprocess, sys
f = open(sys.argv[1], "r+")
fcntl.lockf(f, fcntl.LOCK_SH)
sys.exit(subprocess.call(sys.argv[2:]))' "$TMP/w1/.lock" "${NPR_ALONE[@]}" "$BIN/npr-minilaion" --embeddings --out="$TMP/w1" "${world[@]}" >/dev/null 2>&1 ||
    fail "a run beside another one"
[ -e "$TMP/w1/text/x.npy.tmp.1" ] || fail "a file that another run is writing was removed"
must 1 npr-minilaion --embeddings --out="$TMP/w1" "${world[@]}"
[ ! -e "$TMP/w1/text/x.npy.tmp.1" ] || fail "what a killed run left stays"
done_with minilaion
