#!/usr/bin/env python3
"""The linear probe beside scikit-learn's LogisticRegression on the same rows: loss, accuracy, seconds.

By itself it is a quick check; NPR_BENCH_ROWS=100000 (and NPR_BENCH_CLASSES, NPR_BENCH_DIM) makes it the comparison.
"""
import os
import sys
import tempfile
import time

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy: one thread for each of the two
import numpy as np

try:
    from sklearn.linear_model import LogisticRegression
except ImportError:
    print("skipped: python3-sklearn is not installed")
    sys.exit(77)

from libprime import check, facts, failures, head_of, ingest, run, unit

ROWS, CLASSES, DIM = (int(os.environ.get("NPR_BENCH_" + k, v)) for k, v in
                      (("ROWS", 3000), ("CLASSES", 25), ("DIM", 48)))


def objective(w, x, of, l2):
    z = x @ w.T
    most = z.max(1)
    loss = np.log(np.exp(z - most[:, None]).sum(1)) + most - z[np.arange(len(of)), of]
    return loss.mean() + l2 / 2 * np.sum(w * w)


def main():
    rng = np.random.default_rng(3)
    concept = unit(rng.normal(size=(CLASSES, DIM)))

    def images(of):
        return unit(0.5 * concept[of] + 0.4 + 0.2 * rng.normal(size=(len(of), DIM))).astype(np.float16)

    of, tested = rng.integers(0, CLASSES, ROWS), rng.integers(0, CLASSES, 2000)
    x, test = images(of), images(tested)
    with tempfile.TemporaryDirectory() as tmp:
        head = ingest(tmp + "/head", "head", unit(concept + 0.5).astype(np.float32))
        pool, tests = ingest(tmp + "/pool", "pool", x, of), ingest(tmp + "/test", "test", test, tested)
        start = time.time()
        r = run("npr-solve", 1, head=head, pool=pool, test=tests, method="probe", tolerance=1e-5, threads=1,
                out=tmp + "/probe")
        ours, w = time.time() - start, head_of(tmp + "/probe").astype(np.float64)
    features, l2 = x.astype(np.float64), float(r["result.training.l2"])
    start = time.time()
    model = LogisticRegression(C=1 / (ROWS * l2), fit_intercept=False, tol=1e-5, max_iter=1000)
    model.fit(features, of)
    theirs = time.time() - start
    losses = [objective(v, features, of, l2) for v in (w, model.coef_)]
    accuracies = [np.mean((test.astype(np.float64) @ v.T).argmax(1) == tested) for v in (w, model.coef_)]
    training = float(r["time.training.max"])
    print(f"{ROWS} rows, {CLASSES} classes, {DIM} columns: ours {training:.2f} s ({ours:.2f} s with reading and "
          f"evaluation), scikit-learn {theirs:.2f} s; loss {losses[0]:.8f} and {losses[1]:.8f}; top-1 "
          f"{100 * accuracies[0]:.2f} % and {100 * accuracies[1]:.2f} %")
    check(losses[0] < losses[1] + 1e-6, "scikit-learn finds a lower loss")
    check(abs(losses[0] - float(r["result.training.loss"])) < 1e-6, "the loss in the record")
    check(abs(accuracies[0] - accuracies[1]) < 0.01, "accuracies differ")
    check("result.training.iterations" in facts(r), "iterations in the record")
    print("probe_sklearn:", f"{len(failures)} checks failed" if failures else "passed")
    sys.exit(len(failures) != 0)


if __name__ == "__main__":
    main()
