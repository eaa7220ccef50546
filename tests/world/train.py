"""The training script of jobs/minilaion: stopped and started again it learns the same, and npr-extract gives the features that
PyTorch gives, with what it wrote and with the committed weights."""
import json
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile

try:
    import h5py
    import numpy as np
    import torch
    from PIL import Image  # noqa: F401
except ImportError as e:
    print(f"train: {e}")
    sys.exit(77)

if os.environ.get("NPR_SANITIZED") == "1":
    print("train: it tests a script of PyTorch's; npr-minilaion and npr-extract have sanitized tests of their own")
    sys.exit(77)

BIN = pathlib.Path(os.environ.get("NPR_BIN", "build/test"))
HERE = pathlib.Path(os.environ.get("NPR_SOURCE", ".")) / "jobs/minilaion"
sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE))
import evaluate  # noqa: E402
import train  # noqa: E402

torch.set_num_threads(1)


def run(*command, ranks=2):
    done = subprocess.run(["mpirun", "-n", str(ranks), *map(str, command)], capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode()[-2000:]


def learn(world, out, stop=None):
    """Four steps; `stop`: after so many, in the middle, as a kill after a checkpoint would."""
    command = [sys.executable, HERE / "train.py", world, f"--out={out}", "--steps=4", "--whole=1", "--drop=0.5", "--every=2"]
    if stop:
        command.append(f"--stop={stop}")
    subprocess.run(command, check=True, capture_output=True, timeout=300)


def compare(world, weights, folder):
    """The first part of the index against PyTorch."""
    run(BIN / "npr-extract", "--kind=index", f"--images={world}/pictures", f"--model={weights}", f"--config={HERE}/config.json",
        "--precision=fp32", f"--out={folder}")
    with h5py.File(folder / "part-00000.h5") as f:
        ours = f["emb"][:].view(np.float16).astype(np.float64)
    jpegs = []
    for tar in sorted((world / "pictures").glob("*.tar")):
        with tarfile.open(tar) as t:
            jpegs += [t.extractfile(m).read() for m in t if m.name.endswith(".jpg")]
    theirs = evaluate.Encoder(weights).images(jpegs)
    worst = np.abs(ours - theirs).max()
    assert ours.shape == theirs.shape and worst < 4e-4, worst
    return worst


with tempfile.TemporaryDirectory() as name:
    tmp = pathlib.Path(name)
    run(BIN / "npr-minilaion", f"--out={tmp}/world", "--rows=300", "--tests=1", "--val=1", "--shots=1")
    learn(tmp / "world", tmp / "whole")
    learn(tmp / "world", tmp / "again", stop=2)
    learn(tmp / "world", tmp / "again")
    a, b = ((tmp / x / "model.safetensors").read_bytes() for x in ("whole", "again"))
    assert a == b, "training that was stopped learnt something else"
    losses = [float(line.split(",")[1]) for line in (tmp / "whole/loss.csv").read_text().split("\n")[1:3]]
    assert 0 < losses[1] < losses[0] + 1 < 8, losses
    print("largest difference from PyTorch:", compare(tmp / "world", tmp / "whole/model.safetensors", tmp / "index"))
    print("with the committed weights:", compare(tmp / "world", HERE / "model.safetensors", tmp / "index2"))
config = json.loads((HERE / "config.json").read_text())
assert len(evaluate.read_safetensors(HERE / "model.safetensors")) == len(train.Clip(config["model_cfg"]).state_dict())
