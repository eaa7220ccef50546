#!/bin/bash
# npr-extract --classes end to end on a tiny model and vocabulary: heads as numpy computes them, from templates, CuPL's
# JSON and both; the same bytes for any number of ranks and threads; kills; refusals.
source "$(dirname "$0")/../lib.sh"
/usr/bin/python3 -c 'import numpy, h5py' 2>/dev/null || { echo "skipped: needs numpy and h5py" && exit 77; }
HERE=$NPR_SOURCE/tests
cd "$TMP"

cat >lib_words.py <<'PY'
"""A vocabulary of a few merges, and byte-pair encoding of plain English with it, as CLIP's tokenizer does it."""
import re
MERGES = [m.split() for m in ("a t</w>;p h;ph o;t o</w>;pho to</w>;o f</w>;c at</w>;d o;do g</w>;i n;in g</w>;t h;th e</w>;s s;"
    "r e;e r</w>;re d</w>;b l;u e</w>;bl ue</w>;k in;a r;s t;st ar;o n</w>;1 7</w>").split(";")]
printable = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
BYTES = {b: chr(b) for b in printable}
for b in range(256):
    if b not in BYTES:
        BYTES[b] = chr(256 + len(BYTES) - len(printable))
VOCAB = list(BYTES.values())
VOCAB += [v + "</w>" for v in VOCAB] + ["".join(m) for m in MERGES] + ["<start>", "<end>"]
def encode(text, context):
    out = [len(VOCAB) - 2]
    for word in re.findall(r"'s|[a-z]+|[0-9]|[^\sa-z0-9]+", text.lower()):
        parts = list(word[:-1]) + [word[-1] + "</w>"]
        while True:
            pairs = [MERGES.index([a, b]) for a, b in zip(parts, parts[1:]) if [a, b] in MERGES]
            if not pairs:
                break
            a, b = MERGES[min(pairs)]
            i = 0
            while i < len(parts) - 1:
                if parts[i] == a and parts[i + 1] == b:
                    parts[i:i + 2] = [a + b]
                i += 1
        out += [VOCAB.index(p) for p in parts]
    out = out[:context - 1] + [len(VOCAB) - 1]
    return out + [0] * (context - len(out))
PY
/usr/bin/python3 - "$HERE" <<'PY'
import json, sys
sys.path[:0] = [sys.argv[1] + "/clip", "."]
import numpy as np
import lib_clip, lib_words
t = lib_clip.load(sys.argv[1] + "/data/tiny_clip.safetensors")
config = json.load(open(sys.argv[1] + "/data/tiny_clip_gelu.json"))
config["text_cfg"]["vocab_size"] = len(lib_words.VOCAB)
t["token_embedding.weight"] = np.random.default_rng(1).normal(0, 1, (len(lib_words.VOCAB), config["text_cfg"]["width"]))
lib_clip.save("model.safetensors", t)
json.dump(config, open("tiny.json", "w"))
open("bpe.txt", "w").write('#version: 0.2\n' + "".join(" ".join(m) + "\n" for m in lib_words.MERGES))
words = ["cat", "dog", "photo", "red thing", "blue star", "potter's wheel", "king", "ring", "t-shirt"]
names = [f"{words[i % 9]} {i // 9}" if i >= 9 else words[i] for i in range(61)]
open("names.txt", "w").write("\n".join(names) + "\n")
open("templates.txt", "w").write("a photo of a {}.\nthe {} on the thing\n{}\nitap of my {}, 17 of them\n")
open("more.txt", "w").write("a photo of a {}.\n")
json.dump({n: [f"{n} number {k} is a red thing" for k in range(1 + i % 5)] for i, n in reversed(list(enumerate(names)))}, open("cupl.json", "w"))
json.dump({n: ["x"] for n in names[:-1]}, open("few.json", "w"))
PY
in=(--model=model.safetensors --config=tiny.json --vocab=bpe.txt --classes=names.txt --part-rows=8)

# two classes of one name are said, once
printf '%s\n' cat king cat >same.txt
must 2 npr-extract "${in[@]/names.txt/same.txt}" --templates=more.txt --out=same
once 'same.txt: 1 of 3 classes have the name of another, such as classes 0 and 2, both "cat"' || fail "two classes called cat: $(cat err)"
rm -r same

sizes=(1 2 3 5)
((!SANITIZED)) || sizes=(1 3)
for n in "${sizes[@]}"; do
    must "$n" npr-extract "${in[@]}" --templates=templates.txt --prompts=cupl.json --threads=$((1 + n % 2)) --out="both$n"
    facts out >"facts$n"
    same both1 "both$n" "$n ranks"
    same facts1 "facts$n" "record of $n ranks"
done
must 2 npr-extract "${in[@]}" --templates=templates.txt --out=templates --model-name=mine
must 2 npr-extract "${in[@]}" --prompts=cupl.json --threads=2 --out=cupl
must 2 npr-verify --set=both1
must 1 npr-extract "${in[@]}" --prompts=cupl.json --out=none --dry-run
[ ! -e none ] || fail "a dry run wrote something"
grep -qx 'result.classes=61' out && grep -q '^plan.ranks_with_work=' out || fail "dry run: $(cat out)"
/usr/bin/python3 - "$HERE" <<'PY' || fail "the heads are not what they should be"
import glob, json, sys
sys.path[:0] = [sys.argv[1] + "/clip", "."]
import h5py
import numpy as np
import lib_clip as clip, lib_words
t, config = clip.load("model.safetensors"), json.load(open("tiny.json"))
names, cupl = open("names.txt").read().split("\n")[:-1], json.load(open("cupl.json"))
templates = open("templates.txt").read().split("\n")[:-1]
def mean(texts):
    return clip.unit(sum(clip.text_features(lib_words.encode(x, config["text_cfg"]["context_length"]), t, config) for x in texts))
A = np.array([mean([x.replace("{}", n) for x in templates]) for n in names])
B = np.array([mean(cupl[n]) for n in names])
for name, want in (("templates", A), ("cupl", B), ("both1", (A + B) / 2)):
    part = [h5py.File(f, "r") for f in sorted(glob.glob(name + "/part-*.h5"))]
    weight, emb = (np.concatenate([p[c][:] for p in part]) for c in ("weight", "emb"))
    assert abs(weight - want).max() < 2e-6, (name, abs(weight - want).max())
    unit = want / np.linalg.norm(want, axis=1, keepdims=True)
    assert abs(emb - unit).max() < 6e-4
    assert list(np.concatenate([p["label"][:] for p in part])) == list(range(61)) and len(part) == 8
    caption = []
    for p in part:
        b, o = bytes(p["caption"][:]), p["caption_offset"][:]
        caption += [b[o[i]:o[i + 1]].decode() for i in range(len(o) - 1)]
    assert caption == names
PY

killed() { # FAULT RANKS RANKS-AFTERWARDS
    ! spare_kill "$1" || return 0
    NPR_FAULT=$1 ranks "$2" npr-extract "${in[@]}" --templates=templates.txt --prompts=cupl.json --out=killed && fail "$1: ended with 0"
    [ ! -e killed/manifest.json ] || fail "$1: a manifest too early"
    must "$3" npr-extract "${in[@]}" --templates=templates.txt --prompts=cupl.json --out=killed
    same both1 killed "after $1 on $2 ranks, then $3"
    rm -rf killed
}
killed text.class@0:20=kill 1 3
killed text.class@0:3=fail 2 1
NPR_FAULT=text.class@0:9=stop expect 75 "run the same command again" 1 npr-extract "${in[@]}" --templates=templates.txt --prompts=cupl.json --out=killed
must 2 npr-extract "${in[@]}" --templates=templates.txt --prompts=cupl.json --out=killed
same both1 killed "after a request to stop"

refuse() { # CODE WORDS OPTIONS...
    local code=$1 words=$2
    shift 2
    rm -rf refused
    expect "$code" "$words" 2 npr-extract --out=refused --model=model.safetensors --config=tiny.json "$@"
    [ ! -e refused/manifest.json ] || fail "a manifest in spite of: $words"
}
refuse 64 "either --images, for features, or --classes" --vocab=bpe.txt
refuse 64 "either --images, for features, or --classes" --images=x --classes=names.txt
refuse 64 "go with --classes" --images=x --vocab=bpe.txt
refuse 64 "--vocab is missing" --classes=names.txt --templates=templates.txt
refuse 64 "what is said of a class" --classes=names.txt --vocab=bpe.txt
refuse 65 "no prompts for the class \"king 6\"" --classes=names.txt --vocab=bpe.txt --prompts=few.json
refuse 66 "nowhere.txt" --classes=nowhere.txt --vocab=bpe.txt --templates=templates.txt
refuse 66 "nowhere.gz" --classes=names.txt --vocab=nowhere.gz --templates=templates.txt
# one rank has an older copy of the weights, as long as the others'
/usr/bin/python3 - <<'PY'
import os
old = bytearray(open("model.safetensors", "rb").read())
old[-1] ^= 0x80
os.mkdir("elsewhere")
for name in ("tiny.json", "bpe.txt", "names.txt", "more.txt"):
    os.symlink(f"../{name}", f"elsewhere/{name}")
open("elsewhere/model.safetensors", "wb").write(old)
PY
code=0
timeout 60 mpirun -n 2 "$BIN/npr-extract" "${in[@]}" --templates=more.txt --out="$PWD/refused" : \
    -n 1 -wdir "$PWD/elsewhere" "$BIN/npr-extract" "${in[@]}" --templates=more.txt --out="$PWD/refused" >out 2>err || code=$?
[ "$code" = 78 ] || fail "two models: exit code $code, wanted 78"
once "model.safetensors: has the digest " || fail "two models: $(cat err)"
[ ! -e refused/manifest.json ] || fail "a manifest in spite of two models"
expect 73 "wanted" 2 npr-extract "${in[@]}" --templates=more.txt --out=templates --model-name=mine
NPR_FAULT=text.class@1:2 refuse 74 "injected fault at text.class" --classes=names.txt --vocab=bpe.txt --templates=templates.txt --part-rows=2
done_with text
