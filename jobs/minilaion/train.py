#!/usr/bin/python3
"""train.py WORLD --out=FOLDER: train the small CLIP of the painted world. README.md says with which command, on what and for
how long the committed weights were made. Needs PyTorch, numpy and Pillow. Interrupted, the same command goes on."""
import argparse
import io
import json
import math
import os
import pathlib
import struct
import tarfile
import time

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from bpe import Tokenizer, read_vocabulary
from model import Clip

HERE = pathlib.Path(__file__).parent
BATCH, RATE, WARM_UP, DECAY, CLIP_NORM = 256, 1e-3, 100, 0.1, 1.0


def read_world(world):
    """All pictures as uint8 [n][3][48][48], and their captions."""
    pictures, captions = [], []
    for path in sorted((world / "pictures").glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                data = tar.extractfile(member).read()
                if member.name.endswith(".jpg"):
                    pictures.append(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).transpose(2, 0, 1))
                elif member.name.endswith(".txt"):
                    captions.append(data.decode())
    assert len(pictures) == len(captions)
    return torch.from_numpy(np.stack(pictures)), captions


def write_safetensors(path, tensors, metadata):
    """Half-precision tensors in the safetensors format: length of the header, header, data."""
    header, data, at = {"__metadata__": metadata}, [], 0
    for name, tensor in sorted(tensors.items()):
        raw = tensor.detach().to(torch.float16).contiguous().numpy().tobytes()
        header[name] = {"dtype": "F16", "shape": list(tensor.shape), "data_offsets": [at, at + len(raw)]}
        data.append(raw)
        at += len(raw)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    pathlib.Path(path).write_bytes(struct.pack("<Q", len(text)) + text + b"".join(data))


def rate_at(step, steps):
    """Linear warm-up, then a cosine that ends at zero."""
    return RATE * min(1, (step + 1) / WARM_UP) * (0.5 + 0.5 * math.cos(math.pi * step / steps))


def batches(n, seed, first, last):
    """The rows of steps first .. last-1: epochs are shuffled, each by a generator of its own."""
    per_epoch = n // BATCH
    order, epoch = None, -1
    for step in range(first, last):
        if step // per_epoch != epoch:
            epoch = step // per_epoch
            order = torch.randperm(n, generator=torch.Generator().manual_seed(seed * 100003 + epoch))
        yield order[step % per_epoch * BATCH :][:BATCH]


def kept_patches(seed, step, patches, drop):
    """A random subset of the patches for every picture of a step."""
    g = torch.Generator().manual_seed(seed * 1000003 + step)
    return torch.rand(BATCH, patches, generator=g).argsort(1)[:, : round(patches * (1 - drop))]


def loss_of(model, pictures, tokens, keep):
    image = functional.normalize(model.encode_image(pictures, keep), dim=-1)
    text = functional.normalize(model.encode_texts(tokens), dim=-1)
    logits = model.logit_scale.exp() * image @ text.T
    wanted = torch.arange(len(logits))
    return (functional.cross_entropy(logits, wanted) + functional.cross_entropy(logits.T, wanted)) / 2


def make_optimizer(model):
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, betas=(0.9, 0.98), eps=1e-6)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("world", type=pathlib.Path)
    arguments.add_argument("--out", type=pathlib.Path, required=True, help="checkpoint, loss.csv, model.safetensors, config.json")
    arguments.add_argument("--vocab", type=pathlib.Path, default=HERE / "vocab.txt.gz", help="of this world, by vocabulary.py")
    arguments.add_argument("--steps", type=int, required=True)
    arguments.add_argument("--whole", type=int, default=0, help="last steps that see whole pictures")
    arguments.add_argument("--drop", type=float, default=0.0, help="share of patches dropped in the steps before")
    arguments.add_argument("--every", type=int, default=100, help="steps between checkpoints")
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--stop", type=int, help="leave after so many steps, at a checkpoint")
    arguments.add_argument("--threads", type=int, default=1)
    a = arguments.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)
    config = json.loads((HERE / "config.json").read_text())
    tokenizer = Tokenizer(read_vocabulary(a.vocab))
    cfg = config["model_cfg"]
    cfg["text_cfg"]["vocab_size"] = tokenizer.size
    (a.out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    model = Clip(cfg)
    optimizer = make_optimizer(model)
    pictures, captions = read_world(a.world)
    context = cfg["text_cfg"]["context_length"]
    tokens = torch.tensor([tokenizer.encode(c, context) for c in captions])
    mean = torch.tensor(config["preprocess_cfg"]["mean"]).view(1, 3, 1, 1)
    std = torch.tensor(config["preprocess_cfg"]["std"]).view(1, 3, 1, 1)
    patches = (cfg["vision_cfg"]["image_size"] // cfg["vision_cfg"]["patch_size"]) ** 2
    print(f"{len(captions)} pairs, {sum(p.numel() for p in model.parameters())} parameters, {vars(a)}", flush=True)

    first, spent, losses, checkpoint = 0, 0.0, [], a.out / "checkpoint.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first, spent, losses = state["step"], state["seconds"], state["losses"]
        print(f"going on from step {first}", flush=True)
    running, begun = 0.0, time.process_time()
    for step, rows in enumerate(batches(len(tokens), a.seed, first, a.steps), first):
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, a.steps)
        keep = None if step >= a.steps - a.whole or not a.drop else kept_patches(a.seed, step, patches, a.drop)
        loss = loss_of(model, (pictures[rows].float() / 255 - mean) / std, tokens[rows], keep)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=math.log(100))
        running += float(loss)
        if (step + 1) % a.every == 0 or step + 1 == a.steps:
            n = (step + 1) % a.every or a.every
            seconds = spent + time.process_time() - begun
            losses.append((step + 1, running / n, float(model.logit_scale.exp()), seconds))
            print(f"step {step + 1} loss {running / n:.3f} scale {losses[-1][2]:.1f} cpu {seconds:.0f} s", flush=True)
            running = 0.0
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1,
                     "seconds": seconds, "losses": losses}
            torch.save(state, a.out / "checkpoint.new")
            os.replace(a.out / "checkpoint.new", checkpoint)
            if a.stop and step + 1 >= a.stop:
                return
    with open(a.out / "loss.csv", "w") as f:
        f.write("step,loss,logit_scale,cpu_seconds\n")
        f.writelines(f"{s},{l:.4f},{g:.2f},{t:.0f}\n" for s, l, g, t in losses)
    write_safetensors(a.out / "model.safetensors", model.state_dict(),
                      {"format": "pt", "steps": str(a.steps), "seed": str(a.seed), "torch": torch.__version__})


if __name__ == "__main__":
    main()
