"""CLIP in numpy and double precision, plainly: what npr-extract's tests compare with. Names are open_clip's."""
import json
import math
import struct

import numpy as np

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def load(path):
    raw = open(path, "rb").read()
    n = struct.unpack("<Q", raw[:8])[0]
    tensors = {}
    for name, t in json.loads(raw[8:8 + n]).items():
        if name == "__metadata__":
            continue
        a, b = t["data_offsets"]
        block = raw[8 + n + a:8 + n + b]
        if t["dtype"] == "BF16":
            x = (np.frombuffer(block, "<u2").astype("<u4") << 16).view("<f4")
        else:
            x = np.frombuffer(block, {"F32": "<f4", "F16": "<f2", "I32": "<i4", "I64": "<i8"}[t["dtype"]])
        tensors[name] = x.astype(np.float64).reshape(t["shape"])
    return tensors


def save(path, tensors):
    header, at = {}, 0
    for name, x in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(x.shape), "data_offsets": [at, at + 4 * x.size]}
        at += 4 * x.size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(x.astype("<f4").tobytes() for x in tensors.values()))


def product(x, w):
    """A layer: x [rows][in], w [out][in]. Tests put others in its place, to see what rounding costs."""
    return x @ w.T


def norm(x, t, name):
    x = x - x.mean(-1, keepdims=True)
    x = x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5)
    return x * t[name + ".weight"] + t[name + ".bias"]


erf = np.vectorize(math.erf)


def transformer(x, t, prefix, heads, mask, quick):
    """x [tokens][width]"""
    for i in range(1000):
        p = f"{prefix}.resblocks.{i}."
        if p + "ln_1.weight" not in t:
            return x
        n, w = x.shape
        qkv = product(norm(x, t, p + "ln_1"), t[p + "attn.in_proj_weight"]) + t[p + "attn.in_proj_bias"]
        q, k, v = (y.reshape(n, heads, w // heads).transpose(1, 0, 2) for y in np.split(qkv, 3, 1))
        s = q @ k.transpose(0, 2, 1) / math.sqrt(w // heads) + mask
        s = np.exp(s - s.max(-1, keepdims=True))
        a = (s / s.sum(-1, keepdims=True) @ v).transpose(1, 0, 2).reshape(n, w)
        x = x + product(a, t[p + "attn.out_proj.weight"]) + t[p + "attn.out_proj.bias"]
        h = product(norm(x, t, p + "ln_2"), t[p + "mlp.c_fc.weight"]) + t[p + "mlp.c_fc.bias"]
        h = h / (1 + np.exp(-1.702 * h)) if quick else 0.5 * h * (1 + erf(h / math.sqrt(2)))
        x = x + product(h, t[p + "mlp.c_proj.weight"]) + t[p + "mlp.c_proj.bias"]


def unit(x):
    return x / np.linalg.norm(x)


def image_features(pixels, t, config):
    """pixels [3][size][size], normalised"""
    v = config["vision_cfg"]
    p, side = v["patch_size"], v["image_size"] // v["patch_size"]
    x = pixels[:, :side * p, :side * p].reshape(3, side, p, side, p).transpose(1, 3, 0, 2, 4).reshape(side * side, -1)
    x = product(x, t["visual.conv1.weight"].reshape(v["width"], -1))
    x = np.concatenate([t["visual.class_embedding"][None], x]) + t["visual.positional_embedding"]
    x = norm(x, t, "visual.ln_pre")
    x = transformer(x, t, "visual.transformer", v["width"] // v.get("head_width", 64), 0, config.get("quick_gelu", False))
    return unit(product(norm(x[0], t, "visual.ln_post"), t["visual.proj"].T))


def text_features(tokens, t, config):
    c = config["text_cfg"]
    n = c["context_length"]
    x = t["token_embedding.weight"][tokens] + t["positional_embedding"]
    mask = np.triu(np.full((n, n), -np.inf), 1)
    x = norm(transformer(x, t, "transformer", c["heads"], mask, config.get("quick_gelu", False)), t, "ln_final")
    return unit(product(x[int(np.argmax(tokens))], t["text_projection"].T))


def pixels_of(image, size):
    """open_clip's validation transform, with Pillow."""
    from PIL import Image
    w, h = image.size
    if (w, h)[w > h] != size:
        new = (size, int(size * h / w)) if w <= h else (int(size * w / h), size)
        image = image.resize(new, Image.BICUBIC)
    w, h = image.size
    left, top = int(round((w - size) / 2.0)), int(round((h - size) / 2.0))
    image = image.crop((left, top, left + size, top + size)).convert("RGB")
    x = np.asarray(image).astype(np.float64) / 255
    return ((x - MEAN) / STD).transpose(2, 0, 1)
