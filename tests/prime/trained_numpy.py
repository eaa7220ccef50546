#!/usr/bin/env python3
"""Trained heads against numpy: the linear probe's loss and gradient, fine-tuning step by step, WiSE-FT's blend.
"""
import os
import subprocess

import numpy as np

from libprime import (BIN, M64, blend, check, column, facts, head_of, mix64, near, run, run_tests, top1)


def shuffled(seed, n, i):
    half = 1
    while (1 << 2 * half) < n:
        half += 1
    mask, x = (1 << half) - 1, i
    while True:
        left, right = x >> half, x & mask
        for k in range(1, 5):
            left, right = right, left ^ (mix64(right ^ mix64((seed + k * 0x9E3779B97F4A7C15) & M64)) & mask)
        x = left << half | right
        if x < n:
            return x


def softmax_loss(w, x, of, l2, scale=1.0):
    z = scale * (x @ w.T)
    z -= z.max(1, keepdims=True)
    p = np.exp(z)
    p /= p.sum(1, keepdims=True)
    rows = np.arange(len(of))
    loss = -np.mean(np.log(p[rows, of])) + l2 / 2 * np.sum(w * w)
    p[rows, of] -= 1
    return loss, scale * p.T @ x / len(of) + l2 * w


def test_probe(w, tmp):
    x, of = column(w["pool"], "emb").astype(np.float64), column(w["pool"], "label")
    test, labels = column(w["test"], "emb"), column(w["test"], "label")
    records = []
    for ranks, threads in ((1, 1), (3, 2), (7, 1)):
        r = run("npr-solve", ranks, head=w["head"], pool=w["pool"], test=w["test"], method="probe", l2=1e-3,
                out=f"{tmp}/probe-{ranks}", threads=threads, tile_rows=100 * ranks)
        records.append(facts(r))
    check(records[0] == records[1] == records[2], "the probe on 1, 3 and 7 ranks")
    weight = head_of(tmp + "/probe-1").astype(np.float64)
    loss, gradient = softmax_loss(weight, x, of, 1e-3)
    near(r, "result.training.loss", loss, 1e-7)
    check(np.abs(gradient).max() < 2e-6, f"the gradient at the probe is {np.abs(gradient).max():.2g}")
    best, step = weight.copy(), 1.0  # how far down does plain descent still come from there?
    for _ in range(200):
        value, g = softmax_loss(best, x, of, 1e-3)
        best -= step * g
    check(loss - softmax_loss(best, x, of, 1e-3)[0] < 1e-6, "the probe is not at the minimum")
    near(r, "result.primed.top1", top1(test, weight, labels))
    check(r["result.alpha_from"] == "none", "a probe has no alpha")


def test_finetune(w, tmp):
    pool, of = column(w["pool"], "emb").astype(np.float64), column(w["pool"], "label")
    shots, shot_of = column(w["shots"], "emb").astype(np.float64), column(w["shots"], "label")
    x, of = np.concatenate([pool, shots]), np.concatenate([of, shot_of])
    seed, batch, epochs, rate = 4, 96, 2, 0.002
    options = dict(head=w["head"], pool=w["pool"], shots=w["shots"], test=w["test"], seed=seed, batch=batch,
                   epochs=epochs, rate=rate)
    records = []
    for ranks, threads in ((1, 2), (2, 1), (5, 1)):
        r = run("npr-solve", ranks, method="finetune", out=f"{tmp}/tuned-{ranks}", threads=threads, **options)
        records.append(facts(r))
    check(records[0] == records[1] == records[2], "fine-tuning on 1, 2 and 5 ranks")
    n = len(of)
    place = np.empty(n, int)
    for i in range(n):
        place[shuffled(seed, n, i)] = i
    atoms, take = (n + 31) // 32, batch // 32
    steps = (atoms + take - 1) // take
    head = head_of(w["head"]).astype(np.float64)
    v = np.zeros(head.shape)
    for epoch in range(epochs):
        order = [shuffled((mix64(seed + 1) + epoch) & M64, atoms, i) for i in range(atoms)]
        check(sorted(order) == list(range(atoms)), "an epoch takes each row once")
        for k in range(steps):
            rows = np.concatenate([place[32 * a:32 * a + 32] for a in order[k * take:(k + 1) * take]])
            g = softmax_loss(head, x[rows], of[rows], 0, 100.0)[1]
            v = 0.9 * v + g + 1e-4 * head
            head -= rate * 0.5 * (1 + np.cos(np.pi * (epoch * steps + k) / (epochs * steps))) * v
    got = head_of(tmp + "/tuned-1")
    check(np.abs(got - head).max() < 1e-5, f"fine-tuned weights differ by {np.abs(got - head).max():.2g}")
    text, test, labels = head_of(w["head"]), column(w["test"], "emb"), column(w["test"], "label")
    check(np.abs(got - text).max() > 1e-3, "fine-tuning moves the head")
    near(r, "result.primed.top1", top1(test, got, labels))
    r = run("npr-solve", 3, method="wise", alpha=0.25, out=tmp + "/wise", **options)
    check((head_of(tmp + "/wise") == blend(text, got, 0.25)).all(), "WiSE-FT is the blend")
    near(r, "result.image_only.top1", top1(test, got, labels))
    failed = subprocess.run(["mpirun", "-n", "2", f"{BIN}/npr-solve", f"--head={w['head']}", f"--pool={w['pool']}",
                             "--method=probe", f"--out={tmp}/failed"], capture_output=True, text=True,
                            env=dict(os.environ, NPR_FAULT="solve.train@1:3"), timeout=100)
    check(failed.returncode == 74 and "rank 1" in failed.stderr, f"a fault in training: {failed.stderr}")


def test_goes_on(w, tmp):
    """Killed or stopped in training, the same command goes on, on another number of ranks, and ends with the same bytes."""
    options = dict(head=w["head"], pool=w["pool"], test=w["test"], epochs=3, batch=32, checkpoint=0)

    def said(r):
        return facts(dict(line.split("=", 1) for line in r.stdout.splitlines() if "=" in line))

    def ended(out, ranks, fault, **more):
        command = ["mpirun", "-n", str(ranks), f"{BIN}/npr-solve", f"--out={out}"]
        command += [f"--{k}={v}" for k, v in {**options, **more}.items()]
        return subprocess.run(command, capture_output=True, text=True, env=dict(os.environ, NPR_FAULT=fault), timeout=100)

    for method, words in (("probe", "the probe goes on after"), ("finetune", "fine-tuning goes on after")):
        whole = facts(run("npr-solve", 2, method=method, out=f"{tmp}/whole-{method}", **options))
        for how, code in (("kill", None), ("stop", 75), ("fail", 74)):
            out = f"{tmp}/{method}-{how}"
            r = ended(out, 3, f"solve.train@1:6={how}", method=method)
            check(r.returncode == code or (code is None and r.returncode), f"{method}, {how}: {r.returncode}: {r.stderr}")
            r = ended(out, 2, "", method=method)
            check(r.returncode == 0 and words in r.stderr, f"{method} after {how}: {r.stderr}")
            check(said(r) == whole, f"{method} after {how}: another record")
            for part in sorted(os.listdir(out)):
                check(open(f"{out}/{part}", "rb").read() == open(f"{tmp}/whole-{method}/{part}", "rb").read(), f"{method} after {how}: {part}")
            check(not os.path.exists(f"{out}/.work"), "the state is removed with the rest of unfinished work")
        # a state that is damaged is as good as none
        out = f"{tmp}/{method}-damaged"
        ended(out, 1, "solve.train@0:6=fail", method=method)
        with open(f"{out}/.work/training", "r+b") as f:
            f.seek(200)
            f.write(b"!")
        r = ended(out, 1, "", method=method)
        check(r.returncode == 0 and "is damaged: the training begins anew" in r.stderr, f"{method}, damaged: {r.stderr}")
        check(said(r) == whole, f"{method}, damaged: another record")


if __name__ == "__main__":
    run_tests("trained_numpy", test_probe, test_finetune, test_goes_on)
