#!/usr/bin/python3
"""evaluate.py WORLD --model=FILE --out=TABLE.csv [--chain=table.tsv]: what the small CLIP and priming do in a painted world, in
numpy and PyTorch alone; the oracle beside npr's own chain (jobs/quickstart.sh). k and alpha are chosen on the validation set, never
on a test set; with --chain, the table that quickstart.sh wrote, each row that is in it has the chain's k and alpha, its accuracy
stands beside ours (column `chain`), and the largest differences are printed. Formulas: src/prime/README.md. Needs PyTorch, numpy and
Pillow."""
import argparse
import csv
import io
import json
import pathlib
import re
import struct
import tarfile

import numpy as np
import torch
from PIL import Image

from bpe import Tokenizer, read_vocabulary
from model import Clip

HERE = pathlib.Path(__file__).parent
TESTS = ("test", "sketch", "dusk", "smear")
ALPHAS = [i / 10 for i in range(11)]
KEEP = (5, 10, 15, 20, 25, 30)
SHOTS, SEEDS, NEIGHBOURS = (1, 2, 5, 10), 5, 10


def unit(x):
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)


# ---- features --------------------------------------------------------------------------------------------------------


def read_safetensors(path):
    data = pathlib.Path(path).read_bytes()
    n = struct.unpack("<Q", data[:8])[0]
    tensors = {}
    for name, t in json.loads(data[8 : 8 + n]).items():
        if name != "__metadata__":
            begin, end = t["data_offsets"]
            raw = np.frombuffer(data, np.float16, (end - begin) // 2, 8 + n + begin).reshape(t["shape"])
            tensors[name] = torch.from_numpy(raw.astype(np.float32))
    return tensors


class Encoder:
    def __init__(self, weights):
        config = json.loads((HERE / "config.json").read_text())
        self.model = Clip(config["model_cfg"]).eval()
        self.model.load_state_dict(read_safetensors(weights))
        self.tokens = Tokenizer(read_vocabulary(HERE / "vocab.txt.gz"))
        self.context = config["model_cfg"]["text_cfg"]["context_length"]
        self.mean, self.std = (np.float32(config["preprocess_cfg"][k]) for k in ("mean", "std"))

    def images(self, jpegs):
        out = []
        with torch.no_grad():
            for i in range(0, len(jpegs), 256):
                x = np.stack([np.asarray(Image.open(io.BytesIO(j)).convert("RGB")) for j in jpegs[i : i + 256]])
                x = ((x / np.float32(255) - self.mean) / self.std).transpose(0, 3, 1, 2)
                out.append(self.model.encode_image(torch.from_numpy(np.ascontiguousarray(x))).numpy())
        return unit(np.concatenate(out))

    def texts(self, texts):
        ids = torch.tensor([self.tokens.encode(t, self.context) for t in texts])
        with torch.no_grad():
            return unit(self.model.encode_text(ids).numpy())

    def head(self, prompts):
        """Per class the normalised mean of the normalised prompts."""
        return unit(np.stack([self.texts(p).mean(0) for p in prompts]))


def recall(world, names):
    """JPEGs of the rows whose caption names a class, and that class: as tokens, the first class in order."""
    phrase = {n: i for i, n in enumerate(names)}
    jpegs, labels = [], []
    for path in sorted((world / "pictures").glob("*.tar")):
        with tarfile.open(path) as tar:
            jpeg = None
            for member in tar:
                data = tar.extractfile(member).read()
                if member.name.endswith(".jpg"):
                    jpeg = data
                elif member.name.endswith(".txt"):
                    words = re.findall(r"[a-z0-9]+", data.decode().lower())
                    found = [phrase[p] for n in (1, 3) for i in range(len(words)) if (p := " ".join(words[i : i + n])) in phrase]
                    if found:
                        jpegs.append(jpeg)
                        labels.append(found[0])
    return jpegs, np.array(labels)


def read_folder(path, names):
    files = [(f, i) for i, n in enumerate(names) for f in sorted((path / n.replace(" ", "_")).iterdir())]
    return [f.read_bytes() for f, _ in files], np.array([i for _, i in files])


# ---- the method ------------------------------------------------------------------------------------------------------


def means(x, y, classes, weight=None):
    m = np.zeros((classes, x.shape[1]))
    np.add.at(m, y, x if weight is None else x * weight[:, None])
    return m


def blend(text, sums, alpha):
    """alpha T + (1 - alpha) M; a class without images keeps its text."""
    w = alpha * text + (1 - alpha) * unit(sums)
    empty = ~sums.any(1)
    w[empty] = text[empty]
    return w


def right(w, features, labels):
    return ((features @ w.T).argmax(1) == labels).astype(float)


def keep_top(score, y, k):
    """The k rows of every class with the highest score."""
    kept = np.zeros(len(y), bool)
    for c in range(y.max() + 1):
        rows = np.where(y == c)[0]
        kept[rows[np.argsort(-score[rows], kind="stable")[:k]]] = True
    return kept


def wilson(p, n):
    z = 1.959964
    middle, half = (p + z * z / 2 / n), z * np.sqrt(p * (1 - p) / n + z * z / 4 / n / n)
    return (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)


def paired(a, b):
    """b - a with the 95 % interval of Agresti and Min."""
    n, gained, lost = len(a) + 2, ((b > a).sum() + 0.5), ((a > b).sum() + 0.5)
    d = (gained - lost) / n
    half = 1.959964 * np.sqrt(gained + lost - (gained - lost) ** 2 / n) / n
    return (b - a).mean(), d - half, d + half


class Family:
    def __init__(self, name, world, encoder, chain):
        self.name, self.chain = name, chain
        self.names = (world / name / "classes.txt").read_text().split("\n")[:-1]
        templates = (world / "templates.txt").read_text().split("\n")[:-1]
        prompts = json.loads((world / name / "prompts.json").read_text())
        self.one = encoder.head([[f"a photo of a {n}"] for n in self.names])
        self.text = encoder.head([[t.replace("{}", n) for t in templates] for n in self.names])
        self.cupl = encoder.head([prompts[n] for n in self.names])
        self.both = (self.text + self.cupl) / 2  # as the reference has it: not of unit norm
        jpegs, self.y = recall(world, self.names)
        self.x = encoder.images(jpegs)
        self.sets = {}
        for s in ("val", "shots", *TESTS):
            jpegs, labels = read_folder(world / name / s, self.names)
            self.sets[s] = encoder.images(jpegs), labels
        scores = self.x @ self.text.T
        self.own, self.argmax = scores[np.arange(len(self.y)), self.y], scores.argmax(1) == self.y
        self.base = {s: right(self.text, *self.sets[s]) for s in TESTS}
        self.rows = []

    def chosen(self, row):
        """The chain's alpha of a row, if there is a chain."""
        cell = self.chain.get((self.name, row, "test"))
        return cell and cell["alpha"]

    def best(self, candidates):
        """The candidate (settings, head) that is right most often on the validation set; ties to the first."""
        return max(candidates, key=lambda c: right(c[1], *self.sets["val"]).mean())

    def add(self, row, heads, settings=""):
        """heads: one for all test sets, or a dictionary of heads, or a list (seeds)."""
        for s in TESTS:
            h = heads[s] if isinstance(heads, dict) else heads
            for seed, w in enumerate(h if isinstance(h, list) else [h]):
                r = right(w, *self.sets[s])
                low, high = wilson(r.mean(), len(r))
                gain, gain_low, gain_high = paired(self.base[s], r)
                self.rows.append([self.name, row, settings, s, seed, len(r)] +
                                 [f"{100 * v:.2f}" for v in (r.mean(), low, high, gain, gain_low, gain_high)] +
                                 [self.chain.get((self.name, row, s), {}).get("top1", "")])

    def pool(self, kept, weight=None):
        return means(self.x[kept], self.y[kept], len(self.names), None if weight is None else weight[kept])

    def zero_shot(self):
        self.add("zero-shot, 1 template", self.one)
        self.add("zero-shot, 20 templates", self.text)
        self.add("CuPL-like", self.cupl)
        self.add("templates + CuPL-like", self.both)

    def primed(self):
        def heads_for(kept, alphas):
            sums = self.pool(kept)
            return [(a, blend(self.text, sums, a)) for a in alphas]

        everything = np.ones(len(self.y), bool)
        for row, kept in (("primed, no filter", everything), ("primed, argmax filter", self.argmax)):
            given = self.chosen(row)
            a, w = self.best(heads_for(kept, ALPHAS if given is None else [given]))
            self.add(row, w, f"alpha={a}")
        row = next((r for f, r, _ in self.chain if f == self.name and r.startswith("primed, top ")), None)
        ks = KEEP if row is None else [int(row.split()[2])]
        (k, a), w = self.best([((k, a), w) for k in ks for a, w in
                               heads_for(keep_top(self.own, self.y, k), ALPHAS if row is None else [self.chosen(row)])])
        self.kept = keep_top(self.own, self.y, k)
        self.add(row or f"primed, top {k} of each class", w, f"k={k} alpha={a}")
        self.add("primed, top 25, alpha 0.5", heads_for(keep_top(self.own, self.y, 25), [0.5])[0][1])
        kept = keep_top((self.x * self.both[self.y]).sum(1), self.y, k)
        self.add("primed, top k, templates + CuPL-like", blend(self.both, self.pool(kept), a), f"k={k} alpha={a}")
        shots = means(*self.sets["shots"], len(self.names))
        self.add("means of all labelled shots (no text)", blend(self.text, shots, 0.0))

    def transductive(self):
        def heads_for(features, filtered, weighted, alphas):
            rows = np.where(filtered)[0]  # the filter comes first: the nearest of what it keeps
            near = rows[np.argpartition(-(features @ self.x[rows].T), NEIGHBOURS, axis=1)[:, :NEIGHBOURS]]
            count = np.bincount(near.ravel(), minlength=len(self.y)).astype(float)
            sums = self.pool(count > 0, count if weighted else None)
            return [(a, blend(self.text, sums, a)) for a in alphas]

        everything = np.ones(len(self.y), bool)
        for row, filtered, weighted in (("transductive, rows once", everything, False), ("transductive, weighted (ours)", everything, True),
                                        ("transductive, weighted, argmax", self.argmax, True), ("transductive, weighted, top k", self.kept, True)):
            given = self.chosen(row)
            a = self.best(heads_for(self.sets["val"][0], filtered, weighted, ALPHAS))[0] if given is None else given
            self.add(row, {s: heads_for(self.sets[s][0], filtered, weighted, [a])[0][1] for s in TESTS}, f"alpha={a}")

    def few_shot(self):
        x, y = self.sets["shots"]
        per_class = len(y) // len(self.names)
        pool = self.pool(self.kept)
        for n in SHOTS:
            sums = []
            for seed in range(SEEDS):
                pick = np.random.default_rng(seed).permutation(per_class)[:n]
                rows = np.concatenate([c * per_class + pick for c in range(len(self.names))])
                sums.append(means(x[rows], y[rows], len(self.names)))
            for row, extra in ((f"{n} shots + text", 0), (f"{n} shots + pool + text", pool)):
                def on_val(a):
                    return np.mean([right(blend(self.text, s + extra, a), *self.sets["val"]).mean() for s in sums])
                a = max(ALPHAS, key=on_val)
                self.add(row, [blend(self.text, s + extra, a) for s in sums], f"alpha={a}")
            self.add(f"{n} shots alone", [blend(self.text, s, 0.0) for s in sums], "alpha=0")


# ---- beside the chain ------------------------------------------------------------------------------------------------


def read_chain(path):
    """(family, row, test set) to the chain's top-1, as it is written there, and alpha (None: not primed)."""
    with open(path, newline="") as f:
        return {tuple(c[:3]): {"top1": c[3], "alpha": float(c[9]) if len(c) > 9 else None} for c in csv.reader(f, delimiter="\t")}


def compare(rows):
    """Say how far the chain's accuracies are from ours; a row is a line of the csv, its last cell the chain's."""
    for what, primed in (("zero-shot", False), ("primed", True)):
        pairs = [(abs(float(r[6]) - float(r[12])), r) for r in rows if r[12] and r[2].startswith(("k=", "alpha=")) == primed]
        far, r = max(pairs, key=lambda p: p[0])
        print(f"{what}: {len(pairs)} cells beside the chain's, {sum(d < 0.005 for d, _ in pairs)} the same; largest difference {far:.2f} points"
              f" ({far * r[5] / 100:.0f} of {r[5]} pictures: {r[0]}, {r[1]}, {r[3]})")


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("world", type=pathlib.Path)
    arguments.add_argument("--model", default=HERE / "model.safetensors")
    arguments.add_argument("--out", required=True)
    arguments.add_argument("--chain", help="table.tsv of jobs/quickstart.sh on the same world")
    arguments.add_argument("--threads", type=int, default=1)
    a = arguments.parse_args()
    torch.set_num_threads(a.threads)
    encoder, everything = Encoder(a.model), []
    chain = read_chain(a.chain) if a.chain else {}
    with open(a.out, "w", newline="") as f:
        out = csv.writer(f, lineterminator="\n")
        out.writerow("family,row,settings,test,seed,images,top1,low,high,gain,gain_low,gain_high,chain".split(","))
        for name in ("phrases", "coined"):
            family = Family(name, a.world, encoder, chain)
            for part in (family.zero_shot, family.primed, family.transductive, family.few_shot):
                part()
            out.writerows(family.rows)
            everything += family.rows
            by_row = {}
            for r in family.rows:
                by_row.setdefault((r[1], r[2]), {}).setdefault(r[3], []).append((float(r[6]), float(r[9])))
            print(f"{name}: {len(family.y)} recalled, smallest class {np.bincount(family.y).min()}")
            for (row, settings), cells in by_row.items():
                cell = " ".join(f"{np.mean([c[0] for c in cells[s]]):6.2f} ({np.mean([c[1] for c in cells[s]]):+5.2f})" for s in TESTS)
                print(f"  {row:40} {settings:16} {cell}", flush=True)
    if chain:
        compare(everything)


if __name__ == "__main__":
    main()
