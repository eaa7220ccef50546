#!/usr/bin/env python3
"""What the tests of npr-solve against numpy share: programs run, sets read, a made-up world.

Classes whose pictures lie about a direction of their own; a text head that knows it badly; a pool of noisy labels.
"""
import os
import subprocess
import sys
import tempfile

import h5py
import numpy as np

BIN = os.environ["NPR_BIN"]
CLASSES, DIM = 20, 64
COPIES = 60  # rows of the pool that are test images, nearly
failures = []


def check(ok, what):
    if not ok:
        print("FAILED:", what, file=sys.stderr)
        failures.append(what)


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
    pool, test = images(of), images(tested)
    copies = test[:COPIES].astype(np.float64) + 0.005 * rng.normal(size=(COPIES, DIM))
    pool[100:100 + COPIES], wrong[100:100 + COPIES] = unit(copies).astype(np.float16), tested[:COPIES]
    return {
        "head": ingest(tmp + "/head", "head", text),
        "pool": ingest(tmp + "/pool", "pool", pool, wrong),
        "test": ingest(tmp + "/test", "test", test, tested),
        "shots": ingest(tmp + "/shots", "features", images(shot), shot),
    }


# ---- hashes ----


M64 = (1 << 64) - 1


def mix64(x):
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & M64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & M64
    return x ^ (x >> 31)


def run_tests(name, *tests):
    with tempfile.TemporaryDirectory() as tmp:
        world = make_world(tmp)
        for test in tests:
            test(world, tmp)
    print(f"{name}:", f"{len(failures)} checks failed" if failures else "passed")
    sys.exit(len(failures) != 0)
