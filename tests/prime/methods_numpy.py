#!/usr/bin/env python3
"""The ways to prime beside the plain one, each against its arithmetic in numpy: pools weighted by counts.

The world is made up: classes whose pictures lie about a direction of their own, a text head that knows it badly.
"""
import os
import subprocess
import sys
import tempfile

import h5py
import numpy as np

BIN = os.environ["NPR_BIN"]
CLASSES, DIM = 20, 64
failures = 0


def check(ok, what):
    global failures
    if not ok:
        print("FAILED:", what, file=sys.stderr)
        failures += 1


# ---- npr ----


def run(program, ranks=1, **options):
    args = [f"--{k.replace('_', '-')}={v}" for k, v in options.items()]
    command = ["mpirun", "-n", str(ranks), f"{BIN}/{program}", *args]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    if done.returncode:
        sys.exit(f"{program} {' '.join(args)} gave {done.returncode}: {done.stderr}")
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


def facts(record):
    return {k: v for k, v in record.items() if k.startswith(("result.", "check."))}


def ingest(out, kind, emb, labels=None):
    np.save(out + ".npy", emb)
    options = {"kind": kind, "emb": out + ".npy", "out": out, "model": "made-up"}
    if labels is not None:
        np.savetxt(out + ".labels", labels, fmt="%d")
        options["labels"] = out + ".labels"
    if kind == "head":
        with open(out + ".tsv", "w") as f:
            f.write("caption\n" + "".join(f"class {c}\n" for c in range(len(emb))))
        options["meta"] = out + ".tsv"
    run("npr-ingest", part_rows=1024, **options)
    return out


def column(folder, name):
    parts = sorted(p for p in os.listdir(folder) if p.startswith("part-"))
    return np.concatenate([h5py.File(f"{folder}/{p}", "r")[name][...] for p in parts])


def head_of(folder):
    return column(folder, "weight")


# ---- the arithmetic ----


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def means(x, of, weight):
    sums = np.zeros((CLASSES, DIM))
    np.add.at(sums, of, weight[:, None] * x.astype(np.float64))
    norm = np.linalg.norm(sums, axis=1, keepdims=True)
    return np.where(norm > 0, sums / np.where(norm > 0, norm, 1), 0).astype(np.float32)


def blend(text, image, alpha):
    return (alpha * text.astype(np.float64) + (1 - alpha) * image.astype(np.float64)).astype(np.float32)


def top1(x, w, labels):
    return np.mean((x.astype(np.float64) @ w.astype(np.float64).T).argmax(1) == labels)


def near(record, key, want, tolerance=1e-8):
    got = float(record[key])
    check(abs(got - want) <= tolerance, f"{key} is {got}, wanted {want}")


# ---- the world ----


def make_world(tmp):
    rng = np.random.default_rng(11)
    concept = unit(rng.normal(size=(CLASSES, DIM)))

    def images(of):
        return unit(0.5 * concept[of] + 0.4 + 0.2 * rng.normal(size=(len(of), DIM))).astype(np.float16)

    of = rng.integers(0, CLASSES, 3000)
    wrong = np.where(rng.random(3000) < 0.1, rng.integers(0, CLASSES, 3000), of)
    tested, shot = rng.integers(0, CLASSES, 400), rng.integers(0, CLASSES, 500)
    text = unit(concept + 0.5 + 0.25 * rng.normal(size=(CLASSES, DIM))).astype(np.float32)
    return {
        "head": ingest(tmp + "/head", "head", text),
        "pool": ingest(tmp + "/pool", "pool", images(of), wrong),
        "test": ingest(tmp + "/test", "test", images(tested), tested),
        "shots": ingest(tmp + "/shots", "features", images(shot), shot),
    }


# ---- the tests ----


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


def main():
    with tempfile.TemporaryDirectory() as tmp:
        w = make_world(tmp)
        test_counts(w, tmp)
    print("methods_numpy:", f"{failures} checks failed" if failures else "passed")
    sys.exit(failures != 0)


if __name__ == "__main__":
    main()
