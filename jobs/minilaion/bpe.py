"""Byte-pair encoding with a vocabulary in OpenAI's file format, for the training script: the same tokens as npr's own
tokenizer gives (tests/world/vocabulary.py compares them on this vocabulary's captions)."""
import gzip
import re

WORD = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[a-z]+|[0-9]|[^\sa-z0-9]+")  # of ASCII, in lower case
END = "</w>"


def byte_symbols():
    """The 256 printable symbols that stand for bytes, in the order of their token numbers."""
    kept = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    moved = [b for b in range(256) if b not in kept]
    return [chr(b) for b in kept] + [chr(256 + i) for i in range(len(moved))]


class Tokenizer:
    def __init__(self, merges):
        symbols = byte_symbols()
        self.rank = {pair: i for i, pair in enumerate(merges)}
        tokens = symbols + [s + END for s in symbols] + ["".join(m) for m in merges]
        self.number = {t: i for i, t in enumerate(tokens)}
        self.start, self.end = len(tokens), len(tokens) + 1
        self.size = len(tokens) + 2

    def split(self, word):
        """The tokens of one word (ASCII): always the pair of lowest rank is merged, everywhere, until none is left."""
        parts = [*word[:-1], word[-1] + END]
        while len(parts) > 1:
            best = min(zip(parts, parts[1:]), key=lambda pair: self.rank.get(pair, 1 << 30))
            if best not in self.rank:
                break
            merged, i = [], 0
            while i < len(parts):
                if i + 1 < len(parts) and (parts[i], parts[i + 1]) == best:
                    merged.append(parts[i] + parts[i + 1])
                    i += 2
                else:
                    merged.append(parts[i])
                    i += 1
            parts = merged
        return parts

    def encode(self, text, context):
        """start, tokens, end, zeros; what does not fit is cut, the end stays."""
        ids = [self.start]
        for word in WORD.findall(text.lower()):
            ids += [self.number[t] for t in self.split(word)]
        ids = ids[: context - 1] + [self.end]
        return ids + [0] * (context - len(ids))


def read_vocabulary(path):
    with gzip.open(path, "rt", encoding="utf-8") as f:
        lines = f.read().split("\n")
    return [tuple(line.split()) for line in lines[1:] if line]
