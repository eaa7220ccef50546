"""fuzz_clip.py - writes the seeds fuzz/safetensors/* and fuzz/config/* beside this script."""
import json
import os
import struct

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fuzz")


def write(folder, name, data):
    os.makedirs(os.path.join(HERE, folder), exist_ok=True)
    with open(os.path.join(HERE, folder, name), "wb") as f:
        f.write(data)


def tensors(*entries, metadata=None):
    header, at = {"__metadata__": metadata} if metadata else {}, 0
    for name, dtype, shape, size in entries:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(i % 61 for i in range(at))


def main():
    write("safetensors", "empty", tensors())
    write("safetensors", "one", tensors(("a", "F32", [2], 8)))
    write("safetensors", "kinds", tensors(("s", "F32", [], 4), ("h", "F16", [1, 3], 6), ("b", "BF16", [1], 2),
                                          ("i", "I64", [1], 8), ("n", "F64", [0], 0), metadata={"format": "pt"}))
    model = {"embed_dim": 8, "quick_gelu": True,
             "vision_cfg": {"image_size": 30, "layers": 2, "width": 64, "head_width": 16, "patch_size": 7, "mlp_ratio": 2.5},
             "text_cfg": {"context_length": 9, "vocab_size": 99, "width": 32, "heads": 2, "layers": 1}}
    write("config", "model.json", json.dumps(model).encode())
    write("config", "wrapped.json", json.dumps({"model_cfg": model, "preprocess_cfg": {
        "mean": [0.5, 0.4, 0.3], "std": [1, 1, 1], "size": 30, "interpolation": "bicubic"}}).encode())
    write("config", "resnet.json", json.dumps({"embed_dim": 8, "vision_cfg": {"layers": [3, 4], "timm_model_name": "x"},
                                               "text_cfg": {}}).encode())


main()
