#!/usr/bin/env python3
"""sklearn_peer.py - what npr-bench --what=probe measures, done by scikit-learn's LogisticRegression, for its ratio to it:

    npr-bench --what=probe --rows=20000 --classes=100 --peer="$(bash tests/oracles.sh --sklearn) jobs/sklearn_peer.py"

npr-bench asks, a line a request, and is answered with a number: "shape DIM CLASSES THREADS", then "rows", "labels",
"test_rows", "test_labels" and (our) "head", each with BYTES and the bytes; "fit float32|float64 L2 TOLERANCE ITERATIONS"
is answered with its seconds; "loss", "accuracy" and "iterations" of "float32", "float64" or "ours" with the figure, worked
out in double."""
import sys
import time
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

warnings.simplefilter("ignore", ConvergenceWarning)  # its iterations are in the record


class Peer:
    def __init__(self):
        self.heads, self.rounds = {}, {}

    def shape(self, dim, classes, threads):
        self.dim, self.classes = int(dim), int(classes)
        threadpool_limits(int(threads))

    def take(self, n, kind):
        return np.frombuffer(sys.stdin.buffer.read(int(n)), dtype=kind)

    def rows(self, n):
        x = self.take(n, "<f2").reshape(-1, self.dim)
        self.x = {kind: x.astype(kind) for kind in ("float32", "float64")}

    def labels(self, n):
        self.y = self.take(n, "<i4")

    def test_rows(self, n):
        self.test = self.take(n, "<f2").reshape(-1, self.dim).astype("float64")

    def test_labels(self, n):
        self.test_y = self.take(n, "<i4")

    def head(self, n):
        self.heads["ours"] = self.take(n, "<f4").reshape(self.classes, self.dim).astype("float64")

    def fit(self, kind, l2, tolerance, iterations):
        self.l2 = float(l2)
        model = LogisticRegression(C=1 / (len(self.y) * self.l2), fit_intercept=False, tol=float(tolerance), max_iter=int(iterations))
        begun = time.perf_counter()
        model.fit(self.x[kind], self.y)
        seconds = time.perf_counter() - begun
        self.heads[kind] = np.zeros((self.classes, self.dim))  # a class without rows has no line in coef_
        self.heads[kind][model.classes_] = model.coef_
        self.rounds[kind] = int(np.max(model.n_iter_))
        return seconds

    def loss(self, whose):
        w = self.heads[whose]
        z = self.x["float64"] @ w.T
        most = z.max(1)
        own = np.log(np.exp(z - most[:, None]).sum(1)) + most - z[np.arange(len(z)), self.y]
        return own.mean() + self.l2 / 2 * np.sum(w * w)

    def accuracy(self, whose):
        return np.mean((self.test @ self.heads[whose].T).argmax(1) == self.test_y)

    def iterations(self, whose):
        return self.rounds[whose]


def main():
    peer = Peer()
    print("ready", flush=True)
    for line in iter(sys.stdin.buffer.readline, b""):
        name, *values = line.decode().split()
        answer = getattr(peer, name)(*values)
        print(float(answer or 0), flush=True)


main()
