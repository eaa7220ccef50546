"""Token ids are those of open_clip 2.22's SimpleTokenizer (with ftfy 6.3.1 and regex 2023.8.8: tests/oracles.sh), for
10,000 real captions, all prompts of ImageNet, texts written by hand, every code point, and damaged captions.

Without NPR_ORACLES=1 only an eighth of the prompts and a fifth of the code points, which takes a quarter of a minute; for the sanitized
build, which is here to touch all code, a quarter of that.

    tokenize_openclip.py --golden            prints tests/data/clip_tokens.tsv: a text as JSON, a tab, its tokens
    tokenize_openclip.py --mutations N SEED  compares N damaged captions
"""
import gzip
import json
import os
import random
import struct
import subprocess
import sys
import tempfile
import time
import unicodedata

import lib_oracle
import lib_texts

VOCABULARY = os.path.join(lib_oracle.DATA, "clip/bpe_simple_vocab_16e6.txt.gz")
CAPTIONS = os.path.join(lib_oracle.DATA, "captions/web_10000.tsv")
PROMPTS = os.path.join(lib_oracle.DATA, "prompts/imagenet_zero_shot_metadata.json")
PROGRAM = os.path.join(os.environ.get("NPR_BIN", "build/test"), "tests/test_clip_tokenize")


def ours(texts, context=77, vocabulary=VOCABULARY, tokens=49408):
    data = b"".join(struct.pack("<I", len(t)) + t for t in texts)
    began = time.time()
    run = subprocess.run([PROGRAM, "--encode", vocabulary, str(tokens), str(context)], input=data, capture_output=True, timeout=500)
    if run.returncode:
        sys.exit(f"{PROGRAM} ended with {run.returncode}: {run.stderr[-2000:].decode('utf-8', 'replace')}")
    return np.frombuffer(run.stdout, np.int32).reshape(len(texts), context), time.time() - began


def theirs(texts, context=77, tokenizer=None):
    """What open_clip.tokenize makes, without building a tensor."""
    tokenizer = tokenizer or TOKENIZER
    start, end = tokenizer.encoder["<start_of_text>"], tokenizer.encoder["<end_of_text>"]
    out = np.zeros((len(texts), context), np.int32)
    began = time.time()
    for row, text in zip(out, texts):
        ids = [start] + tokenizer.encode(text.decode("utf-8", "replace")) + [end]
        if len(ids) > context:
            ids = ids[:context]
            ids[-1] = end
        row[:len(ids)] = ids
    return out, time.time() - began


def compare(what, texts, context=77, **vocabulary):
    texts = [t if isinstance(t, bytes) else t.encode("utf-8", "replace") for t in texts]
    tokenizer = vocabulary.pop("tokenizer", None)
    got, our_time = ours(texts, context, **vocabulary)
    want, their_time = theirs(texts, context, tokenizer)
    wrong = np.flatnonzero((got != want).any(axis=1))
    print(f"{what}: {len(wrong)} of {len(texts)} differ, {int((want != 0).sum())} tokens, seconds: {our_time:.2f} here, "
          f"{their_time:.2f} there", flush=True)
    for i in wrong[:5]:
        print(f"  {ascii(texts[i].decode('utf-8', 'replace'))[:300]}\n    {got[i][:24]}\n    {want[i][:24]}")
    return len(wrong)


def captions():
    with open(CAPTIONS, encoding="utf-8", newline="\n") as lines:
        return [line.rstrip("\n").split("\t")[1] for line in lines]


def prompts(key):
    data = json.load(open(PROMPTS))
    return [template.replace("{c}", name).replace("{}", name) for name in data["classnames"] for template in data[key]]


def code_points():
    """Every code point that Python's Unicode knows, in words, after letters that make it matter; the plain ones of
    large scripts many at a time."""
    known = [chr(c) for c in range(0x110000) if not 0xd800 <= c < 0xe000 and unicodedata.category(chr(c)) not in ("Cn", "Co")]
    alone = [c for c in known if ord(c) < 0x3100 or 0xa000 <= ord(c) < 0xac00 or 0xf900 <= ord(c) < 0x11000]
    singled = set(alone)
    crowd = [c for c in known if c not in singled]
    for c in alone:
        yield f"a{c}b {c}A\u03a3{c}\u03a3 e{c}\u0301{c} {c}"
    for i in range(0, len(crowd), 48):
        yield "".join(crowd[i:i + 48])
        yield "\u03a3".join(crowd[i:i + 48])


def references():
    import html.entities
    names = sorted({n.rstrip(";") for n in html.entities.html5})
    yield from (f"a&{n};b &{n} &{n.upper()}; &{n}x; &{n.lower()}" for n in names)
    yield from (f"&#{i};&#x{i:x}; &#{i} &#{i}a;" for i in [*range(300), 0xd7ff, 0xd800, 0xdfff, 0xfdd0, 0xfffe, 0x1ffff, 0x10ffff, 0x110000])


def small_vocabularies():
    """Fewer merges than the file has, plain and gzip; none at all."""
    lines = gzip.open(VOCABULARY).read().decode().split("\n")
    texts = lib_texts.BY_HAND + captions()[:500]
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for merges in (0, 1, 1000):
            plain, packed = os.path.join(folder, "plain.txt"), os.path.join(folder, "packed.txt.gz")
            open(plain, "w", encoding="utf-8", newline="\n").write("\n".join(lines[:1 + merges]))
            with gzip.open(packed, "wb") as out:
                out.write("\n".join(lines[:1 + merges]).encode())
            tokenizer = open_clip.tokenizer.SimpleTokenizer(packed)
            for path in (plain, packed):
                wrong += compare(f"{merges} merges", texts, 20, vocabulary=path, tokens=514 + merges, tokenizer=tokenizer)
    return wrong


def golden():
    rng = random.Random(7)
    real = captions()
    data = json.load(open(PROMPTS))
    texts = [t for t in lib_texts.BY_HAND if len(t) < 400]
    texts += [rng.choice(data["openai_templates"]).replace("{c}", name) for name in data["classnames"][::4]]
    texts += [t.decode() for t in lib_texts.mutations(1500, 11, [c for c in real if len(c) < 50]) if valid(t)]
    for text, ids in zip(texts, theirs([t.encode() for t in texts])[0]):
        print(json.dumps(text) + "\t" + " ".join(str(i) for i in ids[1:np.flatnonzero(ids).max()]))


def valid(data):
    try:
        return len(data.decode()) < 60
    except UnicodeDecodeError:
        return False


def main():
    if not os.path.exists(VOCABULARY):
        lib_oracle.skip(f"no {VOCABULARY}")
    if sys.argv[1:2] == ["--golden"]:
        return golden()
    if sys.argv[1:2] == ["--mutations"]:
        sys.exit(compare("mutations", lib_texts.mutations(int(sys.argv[2]), int(sys.argv[3]), captions())) != 0)
    wrong = compare("by hand", lib_texts.BY_HAND)
    for context in (1, 2, 3, 16):
        wrong += compare(f"context {context}", lib_texts.BY_HAND, context)
    few = 4 if os.environ.get("NPR_SANITIZED") == "1" else 1
    everything = os.environ.get("NPR_ORACLES") == "1"
    wrong += compare("captions", captions()[::few])
    wrong += compare("80 templates", prompts("openai_templates")[:: 1 if everything else 8 * few])
    wrong += compare("7 templates", prompts("simple_templates")[::few])
    wrong += compare("code points", list(code_points())[:: 1 if everything else 5 * few], 200)
    wrong += compare("references", list(references())[::few])
    wrong += compare("mutations", list(lib_texts.mutations(5000 // few, 3, captions())))
    wrong += small_vocabularies()
    if wrong:
        sys.exit(f"tokenize_openclip: {wrong} texts differ")
    print("tokenize_openclip: passed")


if __name__ == "__main__":
    lib_oracle.need_oracle()
    import numpy as np
    import open_clip

    TOKENIZER = open_clip.tokenizer.SimpleTokenizer()
    main()
