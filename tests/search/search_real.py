#!/usr/bin/env python3
"""Search on real input: CLIP's text embeddings of 2,068 class names asked with real photos, and 10,000 real web captions
searched for ImageNet's 1,000 names, against numpy and SQLite's FTS5. Skipped (77) where the data is absent."""
import glob
import json
import os
import sqlite3
import subprocess
import sys
import tempfile

import h5py
import numpy as np

DATA = os.environ.get("NPR_TEST_DATA", "../shared/data")
BIN = os.environ["NPR_BIN"]
TEXT = [f"{DATA}/clip/vitb32-text/{n}.npy" for n in ("lvis_v1_clip_a+cname", "oid_clip_a+cname", "o365_clip_a+cnamefix")]
IMAGES = f"{DATA}/clip/vitb32-reference"
CAPTIONS = f"{DATA}/captions/web_10000.tsv"
PROMPTS = f"{DATA}/prompts/imagenet_zero_shot_metadata.json"


def run(ranks, program, *args):
    done = subprocess.run(["mpirun", "-n", str(ranks), f"{BIN}/{program}", *args], capture_output=True, text=True, timeout=100)
    if done.returncode:
        sys.exit(f"{program} {' '.join(args)}: exit code {done.returncode}\n{done.stderr}")
    return dict(line.split("=", 1) for line in done.stdout.splitlines())


def column(folder, *names):
    parts = [h5py.File(p) for p in sorted(glob.glob(f"{folder}/part-*.h5"))]
    return [np.concatenate([p[n][:] for p in parts]) for n in names]


def search_photos():
    """Every class ranked for every photo, as a double-precision product ranks them; a kitten is a kitten."""
    run(2, "npr-ingest", "--emb=@text.list", "--out=classes", "--normalize", "--part-rows=512", "--model=ViT-B-32")
    run(1, "npr-ingest", "--kind=test", f"--emb={IMAGES}/image_emb_f16.npy", "--labels=photo.labels", "--out=photos",
        "--model=ViT-B-32")
    run(3, "npr-search", "--index=classes", "--queries=photos", "--k=2068", "--out=ranked", "--part-rows=4096")
    emb, ids = column("classes", "emb", "id")
    photos, = column("photos", "emb")
    got_id, got_label, got_score = column("ranked", "id", "label", "score")
    assert len(ids) == 2068 and len(got_id) == 7 * 2068
    for photo in range(7):
        score = emb.astype(np.float64) @ photos[photo].astype(np.float64)
        order = np.lexsort((ids, -score))
        mine = got_label == photo
        assert (got_id[mine] == ids[order]).all(), photo
        assert np.abs(got_score[mine] - score[order]).max() < 1e-7
    names = open(f"{IMAGES}/names.txt").read().split()
    first = got_id[got_label == names.index("456_123")][0]
    lvis = sorted(json.load(open(glob.glob(f"{DATA}/clip/vitb32-text/*.json")[0])), key=lambda c: c["id"])
    assert lvis[first]["name"] == "kitten", lvis[first]["name"]


def search_captions():
    """Counts of every ImageNet name, and the very rows, as FTS5 finds them."""
    names = json.load(open(PROMPTS))["classnames"]
    assert len(names) == 1000
    captions = [line.rstrip("\n").split("\t")[1] for line in open(CAPTIONS, encoding="utf-8", newline="\n")]
    np.save("any.npy", np.tile(np.float16([1, 0, 0, 0]), (len(captions), 1)))
    open("names.txt", "w").write("".join(n + "\n" for n in names))
    run(2, "npr-ingest", "--emb=any.npy", f"--meta={CAPTIONS}", "--columns=url,caption", "--out=web", "--part-rows=2048")
    record = run(3, "npr-search", "--mode=caption", "--index=web", "--names=names.txt", "--k=10000", "--out=pool")
    db = sqlite3.connect(":memory:")
    db.execute("CREATE VIRTUAL TABLE t USING fts5(x)")
    db.executemany("INSERT INTO t(rowid, x) VALUES(?, ?)", enumerate(captions))
    ids, labels = column("pool", "id", "label")
    table = [line.rstrip("\n").split("\t") for line in open("pool/classes.tsv", encoding="utf-8")][1:]
    total = 0
    for c, name in enumerate(names):
        phrase = '"' + name.replace('"', '""') + '"'
        want = {r for r, in db.execute("SELECT rowid FROM t WHERE t MATCH ?", (phrase,))}
        assert int(table[c][2]) == int(table[c][-1]) == len(want), (name, table[c], len(want))
        assert set(ids[labels == c].tolist()) == want, name
        total += len(want)
    assert total == int(record["result.pool_rows"]) and total > 1000
    print(f"{total} matches of {sum(t[2] != '0' for t in table)} ImageNet names in {len(captions)} captions")


for path in TEXT + [IMAGES, CAPTIONS, PROMPTS]:
    if not os.path.exists(path):
        print(f"skipped: no {path}")
        sys.exit(77)
DATA, IMAGES, CAPTIONS, PROMPTS = map(os.path.abspath, (DATA, IMAGES, CAPTIONS, PROMPTS))
TEXT = [os.path.abspath(p) for p in TEXT]
with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    open("text.list", "w").write("".join(p + "\n" for p in TEXT))
    open("photo.labels", "w").write("".join(f"{i}\n" for i in range(7)))
    search_photos()
    search_captions()
    os.chdir("/")
print("search_real: passed")
