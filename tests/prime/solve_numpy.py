#!/usr/bin/env python3
"""npr-solve against the reference implementation's arithmetic, written again in numpy, on the same features.

The reference (RAIVNLab/neural-priming, Priming/prime.py and util.py) takes unit features, sums them per class
by a product with one-hot labels, normalises the sums, turns the NaN of an empty class into 0, blends without
renormalising and predicts by argmax of features @ W.T, all in float32. prime() below is that. exact() is the
same in float64, rounded where npr-solve rounds: its predictions must be equal without exception. prime()'s
must be too, but for rows whose two best scores are closer than float32 resolves.
"""
import os
import subprocess
import sys
import tempfile

import h5py
import numpy as np

BIN = os.environ["NPR_BIN"]
DATA = os.environ.get("NPR_TEST_DATA", "../shared/data")
failures = 0
ALPHAS = (0.3,) if os.environ.get("NPR_SANITIZED") == "1" else (0, 0.3, 0.9, 1)


def check(ok, what):
    global failures
    if not ok:
        print("FAILED:", what, file=sys.stderr)
        failures += 1


# ---- the reference's arithmetic ----


def centroid(features, labels, classes):
    onehot = np.zeros((len(labels), classes), features.dtype)
    onehot[np.arange(len(labels)), labels] = 1
    means = onehot.T @ features
    with np.errstate(invalid="ignore"):
        means /= np.linalg.norm(means, axis=1, keepdims=True)
    return np.nan_to_num(means)


def prime(text, features, labels, test, alpha):
    w = alpha * text + (1.0 - alpha) * centroid(features, labels, len(text))
    return (test @ w.T).argmax(-1)


def exact(text, features, labels, alpha, keep_text):
    means = centroid(features.astype(np.float64), labels, len(text)).astype(np.float32)
    w = (alpha * text.astype(np.float64) + (1.0 - alpha) * means.astype(np.float64)).astype(np.float32)
    empty = np.bincount(labels, minlength=len(text)) == 0
    if keep_text:
        w[empty] = text[empty]
    return w


def predict(test, w):
    return (test.astype(np.float64) @ w.astype(np.float64).T).argmax(-1)


# ---- npr ----


def run(program, ranks=1, **options):
    args = [f"--{k.replace('_', '-')}={v}" for k, v in options.items()]
    command = ["mpirun", "-n", str(ranks), f"{BIN}/{program}", *args]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    if done.returncode:
        sys.exit(f"{program} {' '.join(args)} gave {done.returncode}: {done.stderr}")
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


def ingest(out, kind, emb, labels=None, names=None, normalize=0):
    np.save(out + ".npy", emb)
    options = {"kind": kind, "emb": out + ".npy", "out": out, "normalize": normalize}
    if labels is not None:
        np.savetxt(out + ".labels.txt", labels, fmt="%d")
        options["labels"] = out + ".labels.txt"
    if names is not None:
        with open(out + ".tsv", "w") as f:
            f.write("caption\n" + "".join(n + "\n" for n in names))
        options["meta"] = out + ".tsv"
    run("npr-ingest", **options)
    return out


def column(folder, name):
    parts = sorted(p for p in os.listdir(folder) if p.startswith("part-"))
    return np.concatenate([h5py.File(f"{folder}/{p}", "r")[name][...] for p in parts])


def head_of(folder):
    with h5py.File(f"{folder}/part-00000.h5", "r") as f:
        return f["weight"][...] if "weight" in f else f["emb"][...].astype(np.float32)


# ---- one comparison ----


def compare(sets, tmp, alpha, empty, shots, ranks):
    pool = os.path.basename(sets["pool"])
    where = f"{pool}, alpha {alpha}, empty {empty}, shots {bool(shots)}, {ranks} ranks"
    out = tempfile.mkdtemp(dir=tmp) + "/primed"
    options = {"shots": shots} if shots else {}
    record = run("npr-solve", ranks, head=sets["head"], pool=sets["pool"], test=sets["test"], alpha=alpha,
                 empty=empty, out=out, predictions=out + ".tsv", tile_rows=1000, **options)
    text, test, labels = head_of(sets["head"]), column(sets["test"], "emb"), column(sets["test"], "label")
    features, of = column(sets["pool"], "emb"), column(sets["pool"], "label")
    if shots:
        features = np.concatenate([features, column(shots, "emb")])
        of = np.concatenate([of, column(shots, "label")])
    features, of = features[of >= 0], of[of >= 0]

    got = np.loadtxt(out + ".tsv", skiprows=1, dtype=np.int64, ndmin=2)
    check((got[:, 0] == column(sets["test"], "id")).all(), f"{where}: rows and order")
    check((got[:, 1] == labels).all(), f"{where}: labels")
    w = exact(text, features, of, alpha, empty == "text")
    want, zero_shot = predict(test, w), predict(test, text)
    check((got[:, 3] == want).all(), f"{where}: {np.sum(got[:, 3] != want)} predictions differ")
    check((got[:, 2] == zero_shot).all(), f"{where}: {np.sum(got[:, 2] != zero_shot)} zero-shot ones differ")
    check((head_of(out) == w).all(), f"{where}: the head's weights differ")
    norm = np.linalg.norm(w.astype(np.float64), axis=1, keepdims=True)
    unit = np.where(norm > 0, w / np.where(norm > 0, norm, 1), text)
    check(np.abs(column(out, "emb") - unit).max() < 2**-11, f"{where}: the head's unit rows")

    means = centroid(features.astype(np.float64), of, len(text)).astype(np.float32)
    heads = {"zero_shot": zero_shot, "image_only": predict(test, means), "primed": want}
    for key, predicted in heads.items():
        right = np.mean(predicted == labels)
        check(abs(float(record[f"result.{key}.top1"]) - right) < 1e-8, f"{where}: accuracy of {key}")
        shares = [np.mean(predicted[labels == c] == c) for c in np.unique(labels)]
        check(abs(float(record[f"result.{key}.mean"]) - np.mean(shares)) < 1e-8, f"{where}: mean of {key}")
    gained = np.sum((want == labels) & (zero_shot != labels))
    lost = np.sum((want != labels) & (zero_shot == labels))
    check(int(record["result.gain.only_after"]) == gained, f"{where}: gained")
    check(int(record["result.gain.only_before"]) == lost, f"{where}: lost")

    if empty == "zero":  # the reference itself, in its own float32
        reference = prime(text, features.astype(np.float32), of, test.astype(np.float32), alpha)
        differ = np.flatnonzero(reference != got[:, 3])
        scores = np.sort(test[differ].astype(np.float64) @ w.astype(np.float64).T, axis=1)
        ties = len(differ) == 0 or (scores[:, -1] - scores[:, -2]).max() < 1e-6
        check(ties, f"{where}: {len(differ)} differ from the reference")
        again = features.astype(np.float32)
        again /= np.linalg.norm(again, axis=1, keepdims=True)
        moved = np.sum(prime(text, again, of, test.astype(np.float32), alpha) != reference)
        print(f"{where}: of {len(labels)} predictions {len(differ)} differ from float32 (ties), "
              f"{moved} would if binary16 rows were normalised again")


# ---- leave-one-out, sweep, and a head primed twice ----


def leave_one_out(text, features, of, alpha):
    x, t = features.astype(np.float64), text.astype(np.float64)
    sums = np.zeros(t.shape)
    np.add.at(sums, of, x)
    rest = sums[of] - x
    norm = np.linalg.norm(rest, axis=1)
    own = np.where(norm > 0, np.sum(rest * x, axis=1) / np.where(norm > 0, norm, 1), 0)
    empty = np.bincount(of, minlength=len(t)) == 0
    means = sums / np.where(empty, 1, np.linalg.norm(sums, axis=1))[:, None]
    means = means.astype(np.float32).astype(np.float64)
    means[empty] = t[empty]
    image, texts = x @ means.T, x @ t.T
    rows = np.arange(len(of))
    image[rows, of] = np.where(np.bincount(of, minlength=len(t))[of] > 1, own, texts[rows, of])
    right = (alpha * texts + (1 - alpha) * image).argmax(1) == of
    return np.mean([np.mean(right[of == c]) for c in np.unique(of)])


def test_grids(sets, tmp):
    out = tmp + "/loo"
    record = run("npr-solve", 3, head=sets["head"], pool=sets["pool"], test=sets["test"], alpha="loo",
                 grid_step=0.1, sweep=1, out=out, threads=2, tile_rows=777)
    text, test, labels = head_of(sets["head"]), column(sets["test"], "emb"), column(sets["test"], "label")
    features, of = column(sets["pool"], "emb"), column(sets["pool"], "label")
    table = np.loadtxt(out + "/sweep.tsv", skiprows=1)
    shares = []
    for i in range(11):
        alpha = i / 10
        shares.append(leave_one_out(text, features, of, alpha))
        check(abs(float(record[f"result.loo.{alpha:.2f}"]) - shares[-1]) < 1e-8, f"leave-one-out at {alpha}")
        right = np.mean(predict(test, exact(text, features, of, alpha, True)) == labels)
        check(abs(float(record[f"result.sweep.{alpha:.2f}.top1"]) - right) < 1e-8, f"sweep at {alpha}")
        check(abs(table[i, 1] - right) < 1e-8 and abs(table[i, 0] - alpha) < 1e-12, f"sweep.tsv at {alpha}")
    best = max(range(11), key=lambda i: (shares[i], i)) / 10
    check(float(record["result.alpha"]) == best, f"alpha {record['result.alpha']}, wanted {best}")
    check(record["result.alpha_from"] == "leave-one-out", "where alpha is from")
    check("picks nothing" in record["result.sweep.note"], "what the sweep is for")
    again = run("npr-solve", head=out, pool=sets["pool"], test=sets["test"], alpha=1, out=tmp + "/again")
    check(again["result.zero_shot.top1"] == record["result.primed.top1"], "a primed head as text head")
    check(again["check.head"] == record["check.head"], "alpha 1 keeps the text head")


# ---- the worlds ----


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def synthetic(tmp, classes=120, dim=160, pool=4000, test=2500):
    rng = np.random.default_rng(7)
    shared, gap = unit(rng.normal(size=(2, dim)))
    concept = unit(rng.normal(size=(classes, dim)))
    text = unit(0.75 * shared + 0.4 * gap + 0.45 * concept + 0.02 * rng.normal(size=(classes, dim)))

    def images(of):
        noise = 0.045 * rng.normal(size=(len(of), dim))
        return unit(0.8 * shared - 0.3 * gap + 0.3 * concept[of] + noise).astype(np.float16)

    of = (rng.pareto(1.2, pool) * 9).astype(int) % classes
    of[of == 17] = 18  # 17 stays empty
    wrong = np.where((rng.random(pool) < 0.05) & (of != 3), (of + 1 + (of == 16)) % classes, of)
    labels, shot_of = rng.integers(0, classes, test), np.repeat(np.arange(classes), 2)
    names = [f"class \"{c}\" of o'things" for c in range(classes)]
    return {
        "head": ingest(tmp + "/head", "head", text.astype(np.float32), names=names),
        "pool": ingest(tmp + "/pool", "pool", images(of), wrong),
        "test": ingest(tmp + "/test", "test", images(labels), labels),
        "shots": ingest(tmp + "/shots", "pool", images(shot_of), shot_of),
    }


def real(tmp):
    folder = DATA + "/clip/vitb32-text/"
    if not os.path.isdir(folder):
        print("no reference data: real vectors skipped")
        return None
    coco = np.load(folder + "coco_clip_a+cname.npy")
    others = ("lvis_v1_clip_a+cname.npy", "oid_clip_a+cname.npy", "o365_clip_a+cnamefix.npy")
    rows = np.concatenate([np.load(folder + f) for f in others])
    likeness = unit(rows.astype(np.float64)) @ unit(coco.astype(np.float64)).T
    label = np.where(likeness.max(1) > 0.8, likeness.argmax(1), -1)
    image = np.load(DATA + "/clip/vitb32-reference/image_emb_f16.npy")
    tested = np.concatenate([rows[1::2], image])
    of = np.concatenate([likeness.argmax(1)[1::2], np.arange(7) * 11])
    return {
        "head": ingest(tmp + "/real-head", "head", coco, names=map(str, range(len(coco))), normalize=1),
        "pool": ingest(tmp + "/real-pool", "pool", rows[0::2], label[0::2], normalize=1),
        "test": ingest(tmp + "/real-test", "test", tested, of, normalize=1),
    }


def main():
    with tempfile.TemporaryDirectory() as tmp:
        sets = synthetic(tmp)
        for i, alpha in enumerate(ALPHAS):
            for j, empty in enumerate(("zero", "text")):
                compare(sets, tmp, alpha, empty, None, 1 + i)
                compare(sets, tmp, alpha, empty, sets["shots"], 1 + j)
        test_grids(sets, tmp)
        sets = real(tmp)
        for alpha in ALPHAS if sets else ():
            compare(sets, tmp, alpha, "zero", None, 2)
    print("solve_numpy:", f"{failures} checks failed" if failures else "passed")
    sys.exit(failures != 0)


if __name__ == "__main__":
    main()
