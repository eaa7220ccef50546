#!/usr/bin/python3
"""vocabulary.py WORLD --out=vocab.txt.gz: a small byte-pair vocabulary for the words of a painted world.

Syllables first, words after: a coined name then always falls into its three syllables, which names share, and every
other word becomes a single token. That order is what makes it so: BPE applies the earliest merge it can, and no pair
across two syllables (consonant + consonant) is merged before the syllables are whole."""
import argparse
import collections
import gzip
import json
import pathlib
import tarfile

from bpe import END, WORD, Tokenizer


def words_of(world):
    """Words by falling number of occurrences, coined names left out."""
    texts = (world / "templates.txt").read_text().split("\n")
    texts += (world / "phrases/classes.txt").read_text().split("\n")
    for family in ("phrases", "coined"):
        texts += [p for prompts in json.loads((world / family / "prompts.json").read_text()).values() for p in prompts]
    for tar in sorted((world / "pictures").glob("*.tar")):
        with tarfile.open(tar) as t:
            texts += [t.extractfile(m).read().decode() for m in t if m.name.endswith(".txt")]
    coined = set((world / "coined/classes.txt").read_text().split())
    count = collections.Counter(w for t in texts for w in WORD.findall(t.lower()))
    return [w for w, _ in sorted(count.items(), key=lambda x: (-x[1], x[0])) if w not in coined], sorted(coined)


def syllable_merges(names):
    syllables = sorted({n[i : i + 3] for n in names for i in (0, 3, 6)})
    pairs = sorted({(s[0], s[1]) for s in syllables})
    return pairs + [(s[:2], s[2]) for s in syllables] + [(s[:2], s[2] + END) for s in syllables]


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("world", type=pathlib.Path)
    arguments.add_argument("--out", required=True)
    a = arguments.parse_args()
    words, names = words_of(a.world)
    merges = syllable_merges(names)
    for word in words:
        if not word.isalpha():
            continue
        parts = Tokenizer(merges).split(word)
        while len(parts) > 1:
            merges.append((parts[0], parts[1]))
            parts = [parts[0] + parts[1], *parts[2:]]
    t = Tokenizer(merges)
    assert all(len(t.split(w)) == 1 for w in words if w.isalpha())
    assert all([p.replace(END, "") for p in t.split(n)] == [n[0:3], n[3:6], n[6:9]] for n in names)
    text = "#version: 0.2 - words of a painted world\n" + "".join(f"{x} {y}\n" for x, y in merges)
    with open(a.out, "wb") as f, gzip.GzipFile("", "wb", 9, f, 0) as z:
        z.write(text.encode())
    print(f"{len(words)} words, {len(names)} names, {len(merges)} merges, {t.size} tokens")


main()
