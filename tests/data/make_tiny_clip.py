#!/usr/bin/env python3
"""Make tiny_clip.safetensors (a CLIP of made-up weights), its two configurations, and tiny_clip_expected.safetensors:
what open_clip 2.22 on PyTorch computes with them. Run with the Python of tests/oracles.sh; the files go beside it.
tests/clip/tower_openclip.py uses its functions for models of full size.

The model is odd on purpose: images that are no multiple of a patch, another head width and hidden layer than usual,
and all three types of tensors a file may hold. The same weights serve with GELU and with QuickGELU."""
import json
import os
import struct

import torch
from open_clip.model import CLIP

VISION = {"image_size": 36, "layers": 2, "width": 48, "head_width": 16, "patch_size": 8, "mlp_ratio": 3.5}
TEXT = {"context_length": 12, "vocab_size": 96, "width": 32, "heads": 2, "layers": 2}
CONFIG = {"embed_dim": 24, "vision_cfg": VISION, "text_cfg": TEXT}
TYPES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int32: "I32"}


def save(path, tensors):
    header, blobs, at = {"__metadata__": {"format": "pt"}}, [], 0
    for name, x in tensors.items():
        x = x.detach().contiguous()
        raw = x.view(torch.int16) if x.dtype == torch.bfloat16 else x
        blobs.append(raw.numpy().tobytes())
        header[name] = {"dtype": TYPES[x.dtype], "shape": list(x.shape), "data_offsets": [at, at + len(blobs[-1])]}
        at += len(blobs[-1])
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def make_weights(config):
    """Larger than an initialisation's, so that attention is far from even and activations far from linear."""
    torch.manual_seed(7)
    weights = {}
    for name, x in CLIP(**config).state_dict().items():
        if name.endswith(("ln_1.weight", "ln_2.weight", "ln_pre.weight", "ln_post.weight", "ln_final.weight")):
            value = 1 + 0.3 * torch.randn_like(x)
        elif name == "logit_scale":
            value = x
        elif x.dim() == 1:
            value = 0.3 * torch.randn_like(x)
        else:
            fan = x[0].numel() if "weight" in name else x.shape[-1]
            value = 2 * torch.randn_like(x) / fan ** 0.5
        kind = torch.float32 if x.dim() < 2 else torch.bfloat16 if "text" in name or "c_proj" in name else torch.float16
        weights[name] = value.to(kind)
    return weights


def make_inputs(config, lengths):
    """Two images, and a text of each length: start, words, end."""
    torch.manual_seed(8)
    side, context, vocab = (config["vision_cfg"]["image_size"], config["text_cfg"]["context_length"],
                            config["text_cfg"]["vocab_size"])
    images = torch.randn(2, 3, side, side).to(torch.float16)
    tokens = torch.zeros(len(lengths), context, dtype=torch.int32)
    for row, length in zip(tokens, lengths):
        row[:length] = torch.randint(1, vocab - 2, (length,))
        row[0], row[length - 1] = vocab - 2, vocab - 1
    return images, tokens


def watch(transformer, prefix, out):
    """Keep what goes into the first block, and what comes out of each."""
    transformer.resblocks[0].register_forward_pre_hook(
        lambda _, x: out.__setitem__(f"{prefix}.block.-1", x[0].permute(1, 0, 2)))
    for i, block in enumerate(transformer.resblocks):
        block.register_forward_hook(
            lambda _, __, y, i=i: out.__setitem__(f"{prefix}.block.{i}", y.permute(1, 0, 2)))


def compute(config, weights, images, tokens):
    model = CLIP(**config)
    model.load_state_dict({name: x.float() for name, x in weights.items()})
    model.eval()
    out = {}
    watch(model.visual.transformer, "image", out)
    watch(model.transformer, "text", out)
    with torch.no_grad():
        out["image.features"] = model.encode_image(images.float())
        out["text.features"] = model.encode_text(tokens.long())
    return out


def make(folder, config, weights, expected, names):
    """Files of configurations that differ in their activation, and what is computed with each: "gelu.image.features"."""
    images, tokens = expected["images"], expected["tokens"]
    for name in names:
        model = {**config, **({"quick_gelu": True} if name == "quickgelu" else {})}
        with open(os.path.join(folder, f"tiny_clip_{name}.json"), "w") as f:
            json.dump(model, f, indent=1)
            f.write("\n")
        expected.update({f"{name}.{key}": x for key, x in compute(model, weights, images, tokens).items()})
    save(os.path.join(folder, "tiny_clip.safetensors"), weights)
    save(os.path.join(folder, "tiny_clip_expected.safetensors"), expected)


def main():
    images, tokens = make_inputs(CONFIG, (12, 3, 7, 2, 1))
    make(os.path.dirname(os.path.abspath(__file__)), CONFIG, make_weights(CONFIG), {"images": images, "tokens": tokens},
         ("gelu", "quickgelu"))


if __name__ == "__main__":
    main()
