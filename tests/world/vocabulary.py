"""The vocabulary in jobs/minilaion fits the painted world: every word of its captions and prompts is one token and a coined
name three, no text is cut, and npr's tokenizer gives the tokens that the training script learnt from."""
import json
import os
import pathlib
import struct
import subprocess
import sys
import tarfile
import tempfile

BIN = pathlib.Path(os.environ.get("NPR_BIN", "build/test"))
SOURCE = pathlib.Path(os.environ.get("NPR_SOURCE", "."))
sys.dont_write_bytecode = True
sys.path.insert(0, str(SOURCE / "jobs/minilaion"))
import bpe  # noqa: E402

VOCABULARY = SOURCE / "jobs/minilaion/vocab.txt.gz"
config = json.loads((SOURCE / "jobs/minilaion/config.json").read_text())["model_cfg"]["text_cfg"]
context, size = config["context_length"], config["vocab_size"]
tokenizer = bpe.Tokenizer(bpe.read_vocabulary(VOCABULARY))
assert tokenizer.size == size, (tokenizer.size, size)

with tempfile.TemporaryDirectory() as folder:
    world = pathlib.Path(folder)
    run = ["mpirun", "-n", "2", BIN / "npr-minilaion", f"--out={world}", "--rows=6000", "--tests=1", "--val=1", "--shots=1"]
    subprocess.run(run, check=True, capture_output=True, timeout=120)
    texts = []
    for tar in sorted((world / "pictures").glob("*.tar")):
        with tarfile.open(tar) as t:
            texts += [t.extractfile(m).read().decode() for m in t if m.name.endswith(".txt")]
    names = (world / "classes.txt").read_text().split("\n")[:-1]
    coined = set((world / "coined/classes.txt").read_text().split())
    texts += [t.replace("{}", n) for t in (world / "templates.txt").read_text().split("\n")[:-1] for n in names]
    for family in ("phrases", "coined"):
        texts += [p for some in json.loads((world / family / "prompts.json").read_text()).values() for p in some]

assert len(texts) == 6000 + 200 * 20 + 200 * 9
for word in {w for t in texts for w in bpe.WORD.findall(t.lower())}:
    parts = [p.replace(bpe.END, "") for p in tokenizer.split(word)]
    wanted = [word[i : i + 3] for i in (0, 3, 6)] if word in coined else [word]
    assert parts == wanted, (word, parts)
wanted = [tokenizer.encode(t, context) for t in texts]
assert all(len([i for i in row if i]) == len(bpe.WORD.findall(t.lower())) + 2 + 2 * sum(w in coined for w in bpe.WORD.findall(t.lower()))
           for t, row in zip(texts, wanted)), "a text was cut"

data = b"".join(struct.pack("<I", len(t)) + t.encode() for t in texts)
run = [BIN / "tests/test_clip_tokenize", "--encode", VOCABULARY, str(size), str(context)]
found = subprocess.run(run, input=data, check=True, capture_output=True, timeout=60).stdout
found = struct.unpack(f"<{len(texts) * context}i", found)
wrong = [t for i, t in enumerate(texts) if list(found[i * context : (i + 1) * context]) != wanted[i]]
assert not wrong, f"{len(wrong)} of {len(texts)} texts have other tokens in npr, such as {wrong[0]!r}"
print(f"vocabulary: {len(texts)} texts, {size} tokens")
