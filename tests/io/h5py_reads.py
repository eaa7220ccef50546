"""A set is ordinary HDF5: h5py reads every column of one written by test_io_set_mpi, with the values sample.h has formulas for."""
import json
import os
import subprocess
import sys
import tempfile

try:
    import h5py
    import numpy as np
except ImportError:
    print("skipped: python3-h5py is not installed")
    sys.exit(77)

DIM, PART, ROWS = 8, 60, 4 * 60 + 7
WORDS = [b"kitten", "a été".encode(), b"\xff\xfe", b"tab\there", b""]


def text(i, name):
    if i % 11 == 3:
        return b""
    return b" ".join([b"%s %d" % (name.encode(), i)] + [WORDS[(i + k) % 5] for k in range(i % 6)])


def emb(rows):
    i, j = rows[:, None], np.arange(DIM)[None, :]
    x = ((i * 31 + j * 7) % 17 - 8).astype(np.float64)
    return (x / np.sqrt((x * x).sum(1, keepdims=True))).astype(np.float32).astype("<f2")


def texts(f, name):
    blob, offset = f[name][:].tobytes(), f[name + "_offset"][:]
    assert offset[0] == 0 and offset[-1] == len(blob)
    return [blob[a:b] for a, b in zip(offset[:-1], offset[1:])]


def check_part(f, rows):
    i = rows
    same = {
        "emb": emb(i),
        "id": 1000 + 3 * i,
        "label": (i % 7 - 1).astype("<i4"),
        "score": (i % 100).astype("f4") / np.float32(100),
        "similarity": np.where(i % 9, (i % 50).astype("f4") / np.float32(50), np.float32("nan")).astype("f4"),
        "nsfw": (i % 4).astype("u1"),
        "width": (i % 2000).astype("<i4"),
        "height": (3 * i % 1000).astype("<i4"),
        "count": (1 + i % 5).astype("<i4"),
    }
    for name, want in same.items():
        got = f[name][:]
        assert got.dtype == want.dtype, (name, got.dtype, want.dtype)
        assert got.tobytes() == want.tobytes() or np.array_equal(got, want, equal_nan=True), name
    for name in ("caption", "url", "tokens"):
        assert texts(f, name) == [text(int(k), name) for k in i], name
    container, source = texts(f, "container"), f["source"][:]
    names = [container[c] if c >= 0 else None for c in source[:, 0]]
    assert names == [None if k % 13 == 5 else b"images-%d.tar" % (k % 3) for k in i]
    assert np.array_equal(source[:, 1:], np.stack([100 * i, 50 + i], 1))
    assert len(f) == 18, list(f)
    for name in f:
        d = f[name]
        assert d.fletcher32 and d.compression is None and d.chunks[0] in (1024, 1 << 20), name
    assert np.isnan(f["emb"].fillvalue) and f["id"].fillvalue == -1


def digest_of(path):
    try:
        import xxhash
        return xxhash.xxh3_128(open(path, "rb").read()).hexdigest()
    except ImportError:
        try:
            return subprocess.run(["xxh128sum", path], capture_output=True, check=True).stdout.split()[0].decode()
        except (OSError, subprocess.CalledProcessError):
            return None


with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "set")
    program = os.path.join(os.environ["NPR_BIN"], "tests", "test_io_set_mpi")
    subprocess.run(["mpirun", "-n", "2", program, "write", path], check=True, timeout=100)
    raw = open(os.path.join(path, "manifest.json"), "rb").read()
    m = json.loads(raw)
    assert (m["format"], m["version"], m["rows"], m["dim"], m["dtype"], m["normalised"]) == ("npr-set", 1, ROWS, DIM, "float16", True)
    assert list(m)[-1] == "manifest_digest"
    assert sorted(os.listdir(path)) == ["manifest.json"] + [p["file"] for p in m["parts"]]
    row = 0
    for p in m["parts"]:
        with h5py.File(os.path.join(path, p["file"]), "r") as f:
            check_part(f, np.arange(row, row + p["rows"]))
        assert os.path.getsize(os.path.join(path, p["file"])) == p["bytes"]
        digest = digest_of(os.path.join(path, p["file"]))
        assert digest in (None, p["digest"]), p
        row += p["rows"]
    assert row == ROWS
    body = os.path.join(folder, "body")
    open(body, "wb").write(raw[: raw.index(b',\n "manifest_digest"')])
    assert digest_of(body) in (None, m["manifest_digest"])
    if digest is None:
        print("neither python3-xxhash nor xxh128sum is installed: digests are not compared")
    print("h5py read %d rows of %d parts" % (ROWS, len(m["parts"])))
