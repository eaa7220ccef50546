#!/usr/bin/env python3
"""Caption search beside SQLite's FTS5 and, where it is installed, ripgrep, on the same captions and names in one run.

By itself a quick check that all find as much; NPR_BENCH_ROWS=1000000 makes it the comparison. Real captions if they are
here; names are phrases out of them, so every name is found (made up: class names match far fewer captions). With
NPR_BENCH_CLASSES=1 ImageNet's classes come first, and phrases of two to four words fill up.
"""
import json, os, random, re, shutil, sqlite3, subprocess, sys, tempfile, time

rows, names = int(os.environ.get("NPR_BENCH_ROWS", 20000)), int(os.environ.get("NPR_BENCH_NAMES", 1000))
real = os.path.join(os.environ.get("NPR_TEST_DATA", ""), "captions/web_10000.tsv")
os.environ.setdefault("LC_ALL", "C.UTF-8")
with tempfile.TemporaryDirectory() as tmp:
    os.chdir(tmp)
    rng = random.Random(11)
    if os.path.exists(real):
        captions = [line.rstrip("\n").split("\t")[1] for line in open(real, encoding="utf-8", errors="surrogateescape", newline="\n")]
    else:
        words = ["".join(rng.choices("abcdefghijklmnop", k=rng.randint(2, 9))) for _ in range(5000)]
        captions = [" ".join(rng.choices(words, k=rng.randint(1, 20))) for _ in range(10000)]
    # phrases of one to three words of ASCII, so that ripgrep's words are tokens too; a single one has six letters or more
    phrases, lengths = set(), [1, 2, 2, 3]
    if os.environ.get("NPR_BENCH_CLASSES"):
        lengths = [2, 3, 4]
        with open(os.path.join(os.environ["NPR_TEST_DATA"], "prompts/imagenet_zero_shot_metadata.json"), encoding="utf-8") as f:
            phrases = set(json.load(f)["classnames"][:names])
    while len(phrases) < names:
        found = re.findall(r"[a-z0-9]+", rng.choice(captions).lower())
        n = rng.choice(lengths)
        at = rng.randint(0, max(0, len(found) - n))
        phrase = found[at:at + n]
        if len(phrase) == n and (n > 1 or len(phrase[0]) >= 6):
            phrases.add(" ".join(phrase))
    phrases = sorted(phrases)
    write = lambda path, lines: open(path, "w", encoding="utf-8", errors="surrogateescape", newline="\n").write("".join(l + "\n" for l in lines))
    write("captions.tsv", ["caption"] + captions)
    write("names.txt", phrases)
    out = subprocess.run(["mpirun", "-n", "1", os.path.join(os.environ["NPR_BIN"], "npr-bench"), "--what=captions", "--captions=captions.tsv",
                          "--names=names.txt", f"--rows={rows}", "--repeats=3"], stdout=subprocess.PIPE, text=True)
    if out.returncode:
        sys.exit(f"npr-bench left with {out.returncode}")
    ours = dict(line.split("=", 1) for line in out.stdout.splitlines() if line.startswith("bench.captions."))
    ours = {k[15:]: float(v) for k, v in ours.items()}

    # FTS5: the text itself is not kept (content=''), no sync
    db = sqlite3.connect("fts.db", isolation_level=None)
    db.execute("PRAGMA journal_mode=OFF")
    db.execute("PRAGMA synchronous=OFF")
    db.execute("CREATE VIRTUAL TABLE f USING fts5(c, content='', tokenize='unicode61')")
    data = [(c.encode("utf-8", "surrogateescape"),) for c in captions]
    start = time.perf_counter()
    db.execute("BEGIN")
    for at in range(0, rows, len(data)):
        db.executemany("INSERT INTO f(rowid, c) VALUES (?1, CAST(?2 AS TEXT))",
                       ((at + i + 1, d[0]) for i, d in enumerate(data[:rows - at])))
    db.execute("COMMIT")
    build = time.perf_counter() - start
    start = time.perf_counter()
    hits = sum(db.execute("SELECT count(*) FROM f WHERE f MATCH ?", (f'"{p}"',)).fetchone()[0] for p in phrases)
    query = time.perf_counter() - start
    size = os.path.getsize("fts.db")
    print(f"npr: {rows} captions, {ours['bytes'] / 1e6:.1f} MB: tokens made in {ours['make_seconds']:.3f} s ({ours['make_gb_per_s_per_thread']:.2f} GB/s), "
          f"{ours['token_bytes'] / 1e6:.1f} MB of them; {names} names found {int(ours['matches'])} times in {ours['scan_seconds']:.3f} s "
          f"({ours['scan_gb_per_s_per_thread']:.2f} GB/s; read at {ours['read_gb_per_s_per_thread']:.1f})")
    print(f"FTS5 {sqlite3.sqlite_version}: built in {build:.2f} s, {size / 1e6:.1f} MB; {names} queries, {hits} hits in {query:.3f} s")
    if hits != ours["matches"]:
        sys.exit(f"FTS5 has {hits} hits, npr {int(ours['matches'])}")
    rg = shutil.which("rg")
    if rg:
        # as literals " name " in captions made lower case, words with single spaces between: what it is fastest at
        plain = [" " + " ".join(re.findall(r"\w+", c.lower())) + " " for c in captions]
        write("all.txt", [plain[i % len(plain)] for i in range(rows)])
        write("literals.txt", [" " + " ".join(re.findall(r"\w+", p.lower())) + " " for p in phrases])
        start = time.perf_counter()
        got = subprocess.run([rg, "-j1", "-c", "-F", "-f", "literals.txt", "all.txt"], stdout=subprocess.PIPE, text=True)
        seconds = time.perf_counter() - start
        if got.returncode:
            sys.exit(f"ripgrep left with {got.returncode}")
        print(f"ripgrep: {got.stdout.strip()} lines with some name in {seconds:.3f} s ({ours['bytes'] / seconds / 1e9:.2f} GB/s); it does not say which")
    else:
        print("ripgrep is not installed")
