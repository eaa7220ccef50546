"""Members of tar archives as npr finds them, against Python's tarfile: names, places, sizes, in all formats."""
import io, os, random, subprocess, sys, tarfile, tempfile

LIST = os.environ["NPR_BIN"] + "/tests/test_io_tar"
failures = 0


def members(path):
    p = subprocess.run([LIST, path], capture_output=True, timeout=60)
    if p.returncode:
        return p.returncode, p.stderr.decode()
    rows = [line.split(b" ", 4) for line in p.stdout.split(b"\n")[:-1]]
    return 0, [(int(h), int(o), int(n), int(plain), name) for h, o, n, plain, name in rows]


def expected(path):
    with tarfile.open(path, "r:") as t:
        out = []
        for m in t:
            plain = m.isfile() and not m.issparse()
            name = m.name.encode("utf-8", "surrogateescape")
            if m.isdir() and not name.endswith(b"/"):
                name += b"/"
            out.append((m.offset, m.offset_data, m.size if plain else 0, int(plain), name))
        return out


def check(path, what):
    global failures
    code, got = members(path)
    want = expected(path)
    if got and want and want[0][0] > 0:  # to libarchive a global header belongs to the first member
        got[0], want[0] = got[0][1:], want[0][1:]
    if code or got != want:
        failures += 1
        print(what, "differs:", code, [p for p in zip(got, want) if p[0] != p[1]][:2] or got[-2:], file=sys.stderr)


with tempfile.TemporaryDirectory() as tmp:
    rng = random.Random(5)
    names = ["a.jpg", "000000123.json", "é/ü ñ.jpg", "日本語の名前.txt", "x" * 99, "x" * 100, "x" * 101, "d/" * 60 + "y.jpg",
             "L" * 300, "../up", "/abs", "with space and\ttab", "./dot"]
    for kind, form in (("ustar", tarfile.USTAR_FORMAT), ("gnu", tarfile.GNU_FORMAT), ("pax", tarfile.PAX_FORMAT)):
        for turn in range(6):
            path = f"{tmp}/{kind}{turn}.tar"
            with tarfile.open(path, "w:", format=form, pax_headers={"comment": "all of them"} if turn % 2 else None) as t:
                for i in range(60):
                    m = tarfile.TarInfo(rng.choice(names) + (str(i) if rng.random() < .5 else ""))
                    m.mtime = rng.choice([0, 1700000000, 1700000000.25])
                    m.type = rng.choice([tarfile.REGTYPE] * 6 + [tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.FIFOTYPE])
                    m.linkname = "a.jpg" if m.type == tarfile.SYMTYPE else ""
                    m.size = rng.choice([0, 1, 511, 512, 513, 40000, 16384, 16383]) if m.isfile() else 0
                    if form == tarfile.USTAR_FORMAT:
                        m.mtime = int(m.mtime)
                        m.name = m.name[-90:]
                    if form == tarfile.PAX_FORMAT and rng.random() < .2:
                        m.pax_headers = {"SCHILY.xattr.user.x": "y" * rng.choice([1, 600, 5000])}
                    t.addfile(m, io.BytesIO(bytes(m.size)) if m.isfile() else None)
            check(path, f"{kind} {turn}")
    tars = os.path.join(os.environ.get("NPR_TEST_DATA", "."), "clip/test_tars")
    for name in sorted(os.listdir(tars)) if os.path.isdir(tars) else []:
        check(os.path.join(tars, name), name)
    # sparse files, as GNU tar writes them, are not in one piece
    with open(tmp + "/hole", "wb") as f:
        f.write(b"begin")
        f.seek(1 << 20)
        f.write(b"end")
    for form in ("gnu", "posix"):
        r = subprocess.run(["tar", "-C", tmp, "-S", "--format=" + form, "-cf", tmp + "/sparse.tar", "hole"])
        code, got = members(tmp + "/sparse.tar")
        if r.returncode == 0 and (code or [m[3] for m in got] != [0]):
            failures += 1
            print("sparse:", form, code, got, file=sys.stderr)

print("tar: passed" if not failures else f"tar: {failures} archives differ")
sys.exit(failures > 0)
