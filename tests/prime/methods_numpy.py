#!/usr/bin/env python3
"""The ways to prime beside the plain one, each against its arithmetic in numpy: pools weighted by counts, few shots,
alpha from a validation set; and every way to evaluate.
"""
import os
import subprocess

import numpy as np

from libprime import (BIN, CLASSES, COPIES, blend, check, column, facts, head_of, ingest, means, mix64, near, run,
                      run_tests, top1, unit)


# ---- counts ----


def test_counts(w, tmp):
    near_set = tmp + "/near"
    run("npr-search", 2, index=w["pool"], queries=w["test"], pool="row", k=10, out=near_set)
    text, test, labels = head_of(w["head"]), column(w["test"], "emb"), column(w["test"], "label")
    x, of, count = column(near_set, "emb"), column(near_set, "label"), column(near_set, "count")
    check(count.sum() == 4000 and count.max() > 3, "counts of the transductive pool")
    records = []
    for ranks, how in ((1, "count"), (3, "count"), (2, "rows")):
        out = f"{tmp}/by-{how}-{ranks}"
        r = run("npr-solve", ranks, head=w["head"], pool=near_set, test=w["test"], alpha=0.4, weight=how, out=out,
                tile_rows=100 * ranks)
        image = means(x, of, count if how == "count" else np.ones(len(of)))
        want = blend(text, image, 0.4)
        check((head_of(out) == want).all(), f"the head weighted by {how} on {ranks} ranks")
        near(r, "result.primed.top1", top1(test, want, labels))
        near(r, "result.image_only.top1", top1(test, image, labels))
        check(int(r["result.weight"]) == (4000 if how == "count" else len(of)), f"weight by {how}")
        records.append(facts(r))
    check(records[0] == records[1], "weighted by count: records of 1 and 3 ranks")
    bad = subprocess.run([f"{BIN}/npr-solve", f"--head={w['head']}", f"--pool={w['pool']}", "--weight=count",
                          f"--out={tmp}/none"], capture_output=True, text=True)
    check(bad.returncode == 65 and "no column count" in bad.stderr, f"a pool without counts: {bad.stderr}")


# ---- few-shot ----


def draw(ids, of, per_class, seed):
    """Rows of the shots, in their order: of each class the smallest hashes of (id, seed)."""
    kept = []
    for c in range(CLASSES):
        rows = np.flatnonzero(of == c)
        kept += sorted(rows, key=lambda i: (mix64(int(ids[i]) ^ mix64(seed + 1)), ids[i]))[:per_class]
    return np.sort(kept).astype(int)


def primed_accuracy(w, x, of, alpha):
    text, test, labels = head_of(w["head"]), column(w["test"], "emb"), column(w["test"], "label")
    image = means(x, of, np.ones(len(of)))
    head = blend(text, image, alpha)
    empty = np.bincount(of, minlength=CLASSES) == 0
    head[empty] = text[empty]
    return top1(test, head, labels), head


def test_shots(w, tmp):
    x, of = column(w["pool"], "emb"), column(w["pool"], "label")
    shots, shot_of, ids = column(w["shots"], "emb"), column(w["shots"], "label"), column(w["shots"], "id")
    options = dict(head=w["head"], pool=w["pool"], shots=w["shots"], test=w["test"], alpha=0.3,
                   shots_per_class="0,1,3,100", seeds=3, seed=5)
    r = run("npr-solve", 3, out=tmp + "/few", threads=2, tile_rows=333, **options)
    for n in (0, 1, 3, 100):
        found = {"pool": [], "alone": []}
        for k in range(3 if n else 1):
            rows = draw(ids, shot_of, n, 5 + k)
            sx, so = shots[rows], shot_of[rows]
            check(n == 100 or len(rows) == n * CLASSES, f"{n} shots of each class are there")
            found["pool"].append(primed_accuracy(w, np.concatenate([x, sx]), np.concatenate([of, so]), 0.3))
            if n:
                found["alone"].append(primed_accuracy(w, sx, so, 0.3))
        for how, values in found.items():
            if not values:
                check(f"result.fewshot.{n}.{how}.top1" not in r, "0 shots without the pool")
                continue
            v = [a for a, _ in values]
            for k, a in enumerate(v):
                near(r, f"result.fewshot.{n}.{how}.{k}.top1", a)
            near(r, f"result.fewshot.{n}.{how}.top1", np.mean(v))
            near(r, f"result.fewshot.{n}.{how}.top1_sd", np.std(v, ddof=1) if n else 0)
    check((head_of(tmp + "/few") == found["pool"][0][1]).all(), "the head written: last number, first draw")
    check(len(open(tmp + "/few/fewshot.tsv").readlines()) == 1 + 1 + 3 * 6, "lines of fewshot.tsv")
    for ranks in (1, 5):
        again = run("npr-solve", ranks, out=tmp + f"/few-{ranks}", **options)
        check(facts(again) == facts(r), f"few-shot on {ranks} ranks")
    alone = run("npr-solve", 2, head=w["head"], shots=w["shots"], test=w["test"], alpha=0.3, out=tmp + "/alone")
    near(alone, "result.primed.top1", primed_accuracy(w, shots, shot_of, 0.3)[0])


# ---- alpha chosen on a validation set; baselines; subsets; tables; rows left out ----


def test_evaluation(w, tmp):
    text, test, labels = head_of(w["head"]), column(w["test"], "emb"), column(w["test"], "label")
    x, of, ids = column(w["pool"], "emb"), column(w["pool"], "label"), column(w["pool"], "id")
    v, v_of = column(w["shots"], "emb"), column(w["shots"], "label")
    other = unit(text + 0.05 * np.random.default_rng(2).normal(size=text.shape)).astype(np.float32)
    baseline = ingest(tmp + "/other", "head", other)
    some = [7, 2, 11, 3, 19]
    with open(tmp + "/some.txt", "wb") as f:
        f.write(b"\xef\xbb\xbfclass 7\r\n2\r\nclass 11\n3\nclass 19")
    exclude = tmp + "/exclude"
    found = run("npr-search", 3, index=w["pool"], queries=w["test"], pool="row", k=5, min_score=0.98, out=exclude)
    out_rows = np.isin(ids, column(exclude, "id"))
    check(out_rows.nonzero()[0].tolist() == list(range(100, 100 + COPIES)), "copies of test images in the pool")
    check(found["result.lists_full"] == "0", "lists that may hide more copies")
    options = dict(head=w["head"], pool=w["pool"], test=w["test"], alpha="val", validation=w["shots"], grid_step=0.1,
                   baseline=f"{baseline},{w['head']}", classes_subset=tmp + "/some.txt", exclude=exclude)
    records = []
    for ranks in (1, 2, 7):
        r = run("npr-solve", ranks, out=f"{tmp}/val-{ranks}", per_class=f"{tmp}/classes-{ranks}.csv",
                sweep_table=f"{tmp}/sweep-{ranks}.csv", tile_rows=64 * ranks, **options)
        records.append(facts(r))
    check(records[0] == records[1] == records[2], "evaluation on 1, 2 and 7 ranks")
    for name in ("classes", "sweep"):
        bytes_of = [open(f"{tmp}/{name}-{n}.csv").read() for n in (1, 2, 7)]
        check(bytes_of[0] == bytes_of[1] == bytes_of[2], f"{name}.csv on 1, 2 and 7 ranks")
    grid = []
    for i in range(11):
        alpha = i / 10
        head = blend(text, means(x[~out_rows], of[~out_rows], np.ones((~out_rows).sum())), alpha)
        grid.append(top1(v, head, v_of))
        near(r, f"result.validation.{alpha:.2f}", grid[-1])
    alpha = max(range(11), key=lambda i: (grid[i], i)) / 10
    near(r, "result.alpha", alpha)
    check(r["result.alpha_from"] == "validation", "where alpha is from")
    check(int(r["result.excluded_rows"]) == out_rows.sum(), "rows left out")
    clean = blend(text, means(x[~out_rows], of[~out_rows], np.ones((~out_rows).sum())), alpha)
    dirty = blend(text, means(x, of, np.ones(len(of))), alpha)
    check((head_of(tmp + "/val-1") == clean).all(), "the head without the rows left out")
    heads = {"zero_shot": text, "primed": clean, "with_excluded": dirty, "baseline.1": other, "baseline.2": text}
    inside = np.isin(labels, some)
    guess, within = {}, {}
    for name, head in heads.items():
        s = test.astype(np.float64) @ head.astype(np.float64).T
        guess[name], within[name] = s.argmax(1), np.array(some)[s[inside][:, some].argmax(1)]
        near(r, f"result.{name}.top1", np.mean(guess[name] == labels))
        near(r, f"result.subset.{name}.top1", np.mean(within[name] == labels[inside]))
        shares = [np.mean(guess[name][labels == c] == c) for c in range(CLASSES)]
        near(r, f"result.{name}.mean", np.mean(shares))
    check(int(r["result.subset.classes"]) == 5 and int(r["result.subset.test_rows"]) == inside.sum(), "the subset")
    for key, a, b in (("gain", "zero_shot", "primed"), ("gain.baseline.1", "primed", "baseline.1"),
                      ("gain.with_excluded", "primed", "with_excluded")):
        right = lambda n: guess[n] == labels
        check(int(r[f"result.{key}.only_after"]) == np.sum(right(b) & ~right(a)), key)
        check(int(r[f"result.{key}.only_before"]) == np.sum(right(a) & ~right(b)), key)
    table = [line.rstrip("\n").split(",") for line in open(tmp + "/classes-1.csv")]
    at = {name: i for i, name in enumerate(table[0])}
    check(len(table) == 1 + CLASSES and table[8][1] == '"class 7"', "the table of classes")
    for c in range(CLASSES):
        row, seen = table[1 + c], labels == c
        check(int(row[at["seen"]]) == seen.sum() and int(row[at["pool"]]) == np.sum(of[~out_rows] == c), "a class")
        check(int(row[at["primed_right"]]) == np.sum(guess["primed"][seen] == c), f"class {c}: rows right")
        check(float(row[at["primed_low"]]) <= float(row[at["primed"]]) <= float(row[at["primed_high"]]), "interval")
    sweep = np.loadtxt(tmp + "/sweep-1.csv", delimiter=",", skiprows=1)
    check(abs(sweep[int(alpha * 10), 1] - np.mean(guess["primed"] == labels)) < 1e-8, "the sweep's table")


def refused(code, words, **options):
    args = [f"--{k.replace('_', '-')}={v}" for k, v in options.items()]
    done = subprocess.run([f"{BIN}/npr-solve", *args], capture_output=True, text=True, timeout=100)
    check(done.returncode == code and words in done.stderr, f"wanted {code} \"{words}\": {done.returncode} {done.stderr}")
    check(not os.path.exists(options["out"] + "/manifest.json"), f"a refused head was written: {words}")


def test_refusals(w, tmp):
    out = tmp + "/refused"
    base = dict(head=w["head"], pool=w["pool"], test=w["test"], out=out)
    files = {"twice": "class 1\n1\n", "unknown": "class 1\nclass 99\n", "big": "0\n20\n", "blank": "1\n\n2\n",
             "none": ""}
    words = {"twice": "line 2: class 1 (class 1) is named twice", "unknown": "line 2: the head has no class",
             "big": "line 2: class 20", "blank": "line 2 is empty", "none": "names no class"}
    for name, text in files.items():
        open(f"{tmp}/{name}.txt", "w").write(text)
        refused(65, words[name], classes_subset=f"{tmp}/{name}.txt", **base)
    text = head_of(w["head"])
    np.save(tmp + "/double.npy", text)
    open(tmp + "/double.tsv", "w").write("caption\n" + "".join(f"{n}\n" for n in ["missile"] * 2 + ["x"] * 18))
    run("npr-ingest", kind="head", emb=tmp + "/double.npy", meta=tmp + "/double.tsv", out=tmp + "/double",
        model="made-up")
    open(tmp + "/missile.txt", "w").write("missile\n")
    refused(65, "is the name of class 0 and of class 1", **dict(base, head=tmp + "/double",
                                                               classes_subset=tmp + "/missile.txt"))
    small = ingest(tmp + "/small", "head", text[:5])
    refused(78, "a head of 5 classes", baseline=small, **base)
    refused(64, "go together", alpha="val", **base)
    refused(64, "go together", validation=w["shots"], **base)
    refused(64, "is the test set", alpha="val", validation=w["test"], **base)
    refused(64, "draws from --shots", shots_per_class="1,2", **base)
    refused(64, "wanted at most", shots_per_class="1,x", shots=w["shots"], **base)
    refused(64, "wanted --pool", head=w["head"], out=out)
    refused(64, "--alpha=loo is for class means", method="wise", alpha="loo", **base)
    refused(64, "needs a labelled test set", head=w["head"], pool=w["pool"], out=out, per_class=tmp + "/x.csv")


if __name__ == "__main__":
    run_tests("methods_numpy", test_counts, test_shots, test_evaluation, test_refusals)
