"""npr-ingest on real vectors: ViT-B/32 text embeddings of LVIS, OID, O365 and COCO class names (float16, not normalised),
scaled to unit norm; against numpy's double precision. And the seven real image embeddings, which are of unit norm."""
import glob
import json
import os
import shutil
import subprocess
import sys
import tempfile

BIN, DATA = os.environ["NPR_BIN"], os.environ.get("NPR_TEST_DATA", "../shared/data")
FILES = sorted(glob.glob(os.path.join(DATA, "clip/vitb32-text/*.npy")))
try:
    import h5py
    import numpy as np
except ImportError:
    sys.exit(print("skipped: needs numpy and h5py") or 77)
if not FILES:
    sys.exit(print(f"skipped: no real embeddings in {DATA}") or 77)


def ingest(ranks, *options):
    p = subprocess.run(["mpirun", "-n", str(ranks), os.path.join(BIN, "npr-ingest"), *options], capture_output=True,
                       text=True, timeout=100)
    return p.returncode, dict(l.split("=", 1) for l in p.stdout.splitlines() if "=" in l), p.stderr


def column(folder, name):
    parts = [h5py.File(f, "r") for f in sorted(glob.glob(folder + "/part-*.h5"))]
    return np.concatenate([p[name][:] for p in parts])


def halves_apart(a, b):
    """Steps of binary16 between values of one sign; -0 and 0 are the same."""
    i, j = (np.where(v.view("<i2") < 0, -(v.view("<i2").astype(int) & 0x7fff), v.view("<i2").astype(int)) for v in (a, b))
    return np.abs(i - j)


with tempfile.TemporaryDirectory() as tmp:
    x = np.concatenate([np.load(f) for f in FILES])
    assert x.shape == (2148, 512) and x.dtype == np.float16
    code, _, said = ingest(2, f"--emb={DATA}/clip/vitb32-text", f"--out={tmp}/raw", "--model=ViT-B-32")
    assert code == 65 and "of 2148 rows cannot be used" in said and "--normalize scales rows" in said, (code, said)

    options = (f"--emb={DATA}/clip/vitb32-text", "--normalize", "--part-rows=500", "--model=ViT-B-32")
    records = []
    for ranks in (1, 3):
        code, record, said = ingest(ranks, *options, f"--out={tmp}/text{ranks}")
        assert code == 0, said
        records.append({k: v for k, v in record.items() if k.startswith(("result.", "check."))})
    assert records[0] == records[1] and records[0]["result.rows"] == "2148" and records[0]["result.rejected"] == "0"
    subprocess.run(["diff", "-r", tmp + "/text1", tmp + "/text3"], check=True)

    y = x.astype(np.float64)
    wanted = (y / np.sqrt((y * y).sum(axis=1, keepdims=True))).astype(np.float16)
    got = column(tmp + "/text1", "emb")
    apart = halves_apart(got, wanted)
    assert apart.max() <= 1 and (apart > 0).sum() <= 2, (apart.max(), (apart > 0).sum())
    assert (column(tmp + "/text1", "id") == np.arange(2148)).all()
    print(f"{apart.size} values scaled, {(apart > 0).sum()} differ from numpy by one step of binary16")

    # the LVIS file as a head: names as captions, full precision kept
    lvis = next(f for f in FILES if "lvis" in f)
    info = json.load(open(os.path.join(DATA, "clip/vitb32-text/lvis_v1_train_cat_info.json")))
    names = [c["name"] for c in sorted(info, key=lambda c: c["id"])]
    with open(tmp + "/names.tsv", "w", encoding="utf-8") as f:
        f.write("caption\n" + "".join(n + "\n" for n in names))
    code, _, said = ingest(2, f"--emb={lvis}", f"--meta={tmp}/names.tsv", "--kind=head", "--normalize", f"--out={tmp}/head")
    assert code == 0, said
    y = np.load(lvis).astype(np.float64)
    y /= np.sqrt((y * y).sum(axis=1, keepdims=True))
    with h5py.File(tmp + "/head/part-00000.h5", "r") as f:
        w = y.astype(np.float32)
        assert f["weight"].dtype == np.float32 and (np.abs(f["weight"][:] - w) <= np.spacing(np.abs(w))).all()
        assert (f["weight"][:] != w).sum() <= 2
        assert (f["label"][:] == np.arange(1203)).all()
        assert bytes(f["caption"][:]).decode() == "".join(names)

    # image embeddings are of unit norm as published: taken bit for bit
    image = os.path.join(DATA, "clip/vitb32-reference/image_emb_f16.npy")
    code, record, said = ingest(2, f"--emb={image}", f"--out={tmp}/image", "--kind=test")
    assert code == 0 and record["result.rows"] == "7", said
    assert (column(tmp + "/image", "emb").view("<u2") == np.load(image).view("<u2")).all()
    shutil.rmtree(tmp + "/image")
print("ingest_real: passed")
