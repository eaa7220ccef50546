"""jobs/parquet2tsv.py: hostile texts, nulls, types, row groups, what is refused; and 10,000 real rows. Needs pyarrow."""
import math
import os
import signal
import subprocess
import sys
import tempfile

ROOT = os.environ.get("NPR_SOURCE") or os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
DATA = os.environ.get("NPR_TEST_DATA") or os.path.join(ROOT, "../shared/data")


def run(*arguments):
    p = subprocess.run([sys.executable, os.path.join(ROOT, "jobs/parquet2tsv.py"), *arguments], capture_output=True, text=True)
    return p.returncode, p.stderr


try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError:
    code, said = run("any.parquet")
    assert code == 78 and "pyarrow is missing" in said and "pip install" in said, (code, said)
    print("skipped: pyarrow is missing here (and parquet2tsv.py says so)")
    sys.exit(77)


def lines(path):
    with open(path, "rb") as f:
        text = f.read()
    assert text.endswith(b"\n")
    return text[:-1].split(b"\n")


with tempfile.TemporaryDirectory() as tmp:
    rows = 1000
    table = pa.table({
        "URL": pa.array([f"http://a/{i}" for i in range(rows)]),
        "TEXT": pa.array([None if i % 7 == 0 else f"a\tb\nc\r\nd caf\u00e9 \u2028{i}" for i in range(rows)]),
        "key": pa.array(range(rows)),
        "exif": pa.array([[i] for i in range(rows)]),
        "similarity": pa.array([None if i % 5 == 0 else math.nan if i % 5 == 1 else i / 7 for i in range(rows)]),
        "NSFW": pa.array(["UNLIKELY", "NSFW"] * (rows // 2)).dictionary_encode(),
        "WIDTH": pa.array([i if i % 3 else None for i in range(rows)], pa.int32()),
        "caption": pa.array([b"\xff\xfe" + str(i).encode() for i in range(rows)], pa.binary()),
    })
    path = os.path.join(tmp, "m_0000.parquet")
    pq.write_table(table, path, row_group_size=300)
    code, said = run("--batch=64", path)
    assert code == 0 and "1000 rows" in said, said
    got = lines(path.replace(".parquet", ".tsv"))
    assert got[0] == b"URL\tTEXT\tsimilarity\tNSFW\tWIDTH\tcaption" and len(got) == rows + 1
    for i, line in enumerate(got[1:]):
        f = line.split(b"\t")
        assert f[0] == b"http://a/%d" % i and f[5] == b"\xff\xfe%d" % i and f[3] == (b"NSFW" if i % 2 else b"UNLIKELY")
        assert f[1] == (b"" if i % 7 == 0 else f"a b c  d caf\u00e9 \u2028{i}".encode())
        assert f[2] == (b"" if i % 5 < 2 else repr(i / 7).encode()) and f[4] == (b"%d" % i if i % 3 else b"")
    before = os.stat(path.replace(".parquet", ".tsv")).st_mtime_ns
    code, said = run(path)
    assert code == 0 and "is there already" in said and os.stat(path.replace(".parquet", ".tsv")).st_mtime_ns == before

    # other columns than those npr-ingest knows: what img2dataset says of each URL
    said_of = os.path.join(tmp, "00000.parquet")
    pq.write_table(pa.table({"url": ["u", "v"], "id": pa.array([10**12, 7]), "status": ["success", "failed_to_download"]}), said_of)
    code, said = run("--columns=id,status", said_of)
    assert code == 0 and lines(said_of.replace(".parquet", ".tsv")) == [b"id\tstatus", b"1000000000000\tsuccess", b"7\tfailed_to_download"], said
    code, said = run("--columns=id,verdict", "--out=" + tmp + "/other", said_of)
    assert code == 65 and "no column verdict of texts or numbers; it has url, id, status" in said, said

    # refused: nothing is left behind
    with open(path, "rb") as f:
        whole = f.read()
    cut, odd, out = (os.path.join(tmp, n) for n in ("cut.parquet", "odd.parquet", "out"))
    with open(cut, "wb") as f:
        f.write(whole[:-100])
    pq.write_table(pa.table({"key": [1], "md5": ["x"]}), odd)
    for file, want, words in ((cut, 65, "cut.parquet: "), (odd, 65, "none of its columns is known: key, md5"),
                              (tmp + "/no.parquet", 66, "no such file")):
        code, said = run("--out=" + out, file)
        assert code == want and words in said and said.count("\n") == 1, (code, said)
    code, said = run()
    assert code == 64, said
    assert os.listdir(out) == []

    # several at a time, a bad one among them: the others are made
    pq.write_table(table, os.path.join(tmp, "m_0001.parquet"))
    code, said = run("--jobs=2", "--out=" + out, path, cut, os.path.join(tmp, "m_0001.parquet"))
    assert code == 65 and sorted(os.listdir(out)) == ["m_0000.tsv", "m_0001.tsv"], (code, said)

    # asked to stop: files in hand are finished, no other is begun, and the next run does the rest
    many = [os.path.join(tmp, f"n_{i:04}.parquet") for i in range(24)]
    for name in many:
        pq.write_table(pa.table({"url": [f"http://b/{i}" for i in range(6000)]}), name)

    def begin(folder):
        """Running, with a file done: the process, what it said"""
        p = subprocess.Popen([sys.executable, os.path.join(ROOT, "jobs/parquet2tsv.py"), "--jobs=2", "--batch=8", "--out=" + folder, *many],
                             stderr=subprocess.PIPE, text=True)
        return p, p.stderr.readline()

    asked = os.path.join(tmp, "asked")
    for number in (signal.SIGUSR1, signal.SIGTERM):
        p, said = begin(asked)
        p.send_signal(number)
        said += p.communicate()[1]
        done = os.listdir(asked)
        assert p.returncode == 75 and "left for the next run" in said and 0 < len(done) < len(many), (p.returncode, said)
        assert all(n.endswith(".tsv") and len(lines(os.path.join(asked, n))) == 6001 for n in done), done
    code, said = run("--out=" + asked, *many)
    assert code == 0 and said.count("is there already") == len(done) and len(os.listdir(asked)) == len(many), (code, said)

    # a worker is killed, as for want of memory: it is said, nothing waits for it
    p, said = begin(os.path.join(tmp, "killed"))
    with open(f"/proc/{p.pid}/task/{p.pid}/children") as f:
        os.kill(int(f.read().split()[0]), signal.SIGKILL)
    said += p.communicate(timeout=60)[1]
    assert p.returncode == 70 and "a worker was killed" in said, (p.returncode, said)

    real = os.path.join(DATA, "captions/web_10000.parquet")
    if os.path.exists(real):
        code, said = run("--out=" + out, real)
        assert code == 0, said
        got = [l.split(b"\t") for l in lines(os.path.join(out, "web_10000.tsv"))]
        published = [l.split(b"\t") for l in lines(os.path.join(DATA, "captions/web_10000.tsv"))]
        assert got[0] == [b"URL", b"TEXT"] and len(got) == len(published) + 1 == 10001
        assert [g[0] for g in got[1:]] == [p[0].strip(b'"') for p in published]
        same = sum(g[1] == p[1] for g, p in zip(got[1:], published))
        assert same > 9500, same  # the published TSV quotes some texts as CSV does
print("parquet2tsv: passed")
