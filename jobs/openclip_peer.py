#!/usr/bin/env python3
"""openclip_peer.py - what npr-bench --what=extract measures, done by Pillow and by open_clip on PyTorch, for its ratio to them:

    npr-bench --what=extract --config=ViT-B-16.json --peer="$(bash tests/oracles.sh) jobs/openclip_peer.py"

npr-bench asks, a line a request, and is answered with the seconds that it took: "model CONFIG BATCH THREADS" (random
weights), "jpeg BYTES" with the bytes of a picture, "decode N" (pictures, in turn), "vit N" (batches)."""
import concurrent.futures
import io
import json
import sys
import time

import numpy as np
import open_clip
import torch
from PIL import Image

MEAN = torch.tensor(open_clip.OPENAI_DATASET_MEAN).view(3, 1, 1)
STD = torch.tensor(open_clip.OPENAI_DATASET_STD).view(3, 1, 1)


class Peer:
    def __init__(self):
        self.pictures = []

    def model(self, config, batch, threads):
        cfg = json.load(open(config))
        cfg = cfg.get("model_cfg", cfg)
        self.size, self.batch, self.threads = cfg["vision_cfg"]["image_size"], int(batch), int(threads)
        torch.set_num_threads(self.threads)
        self.clip = open_clip.CLIP(cfg["embed_dim"], cfg["vision_cfg"], cfg["text_cfg"], quick_gelu=cfg.get("quick_gelu", False)).eval()
        self.pixels = torch.randn(self.batch, 3, self.size, self.size)

    def jpeg(self, n):
        self.pictures.append(sys.stdin.buffer.read(int(n)))

    def one(self, i):
        """open_clip's validation transform, in its steps."""
        image = Image.open(io.BytesIO(self.pictures[i % len(self.pictures)]))
        w, h = image.size
        if min(w, h) != self.size:
            longer = int(self.size * max(w, h) / min(w, h))
            image = image.resize((self.size, longer) if w <= h else (longer, self.size), Image.BICUBIC)
        left, top = round((image.width - self.size) / 2.0), round((image.height - self.size) / 2.0)
        image = image.crop((left, top, left + self.size, top + self.size)).convert("RGB")
        x = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().to(torch.float32)
        return x.div(255).sub_(MEAN).div_(STD)

    def decode(self, n):
        """On as many threads as npr-bench has: Pillow lets others run while it decodes and resizes."""
        if self.threads == 1:
            for i in range(int(n)):
                self.one(i)
            return
        with concurrent.futures.ThreadPoolExecutor(self.threads) as pool:
            torch.set_num_threads(1)
            list(pool.map(self.one, range(int(n))))
            torch.set_num_threads(self.threads)

    def vit(self, n):
        with torch.inference_mode():
            for _ in range(int(n)):
                self.clip.encode_image(self.pixels)


def main():
    peer = Peer()
    print("ready", flush=True)
    for line in iter(sys.stdin.buffer.readline, b""):
        name, *values = line.decode().split()
        begun = time.perf_counter()
        getattr(peer, name)(*values)
        print(time.perf_counter() - begun, flush=True)


main()
