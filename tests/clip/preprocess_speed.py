"""How fast decoding and preprocessing are beside Pillow and torch, on one core: the reference photos, the two taking turns at every file, the best of
several rounds of each. It takes a quiet machine to mean anything, so it runs only if NPR_SPEED is set; with a number there, a smaller ratio is a failure."""
import io
import os
import subprocess
import sys
import time

if not os.environ.get("NPR_SPEED"):
    print("skipped: set NPR_SPEED to measure, or to the ratio to Pillow that must be reached")
    sys.exit(77)
try:
    import numpy as np
    from PIL import Image
    import torch
except ImportError:
    print("skipped: python3-numpy, python3-pil or python3-torch is not installed")
    sys.exit(77)

SIZE, ROUNDS = 224, 15
STEPS = ("decode", "weights", "across", "down", "colour", "normalize")
MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(-1, 1, 1)
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(-1, 1, 1)


def pillow(data):
    """Seconds of decoding, of resizing, and of the rest."""
    a = time.perf_counter()
    im = Image.open(io.BytesIO(data))
    im.load()
    b = time.perf_counter()
    w, h = im.size
    new = int(SIZE * max(w, h) / min(w, h))
    im = im.resize((SIZE, new) if w <= h else (new, SIZE), Image.BICUBIC)
    c = time.perf_counter()
    left, top = int(round((im.width - SIZE) / 2.0)), int(round((im.height - SIZE) / 2.0))
    im = im.crop((left, top, left + SIZE, top + SIZE)).convert("RGB")
    x = torch.from_numpy(np.array(im)).permute(2, 0, 1).contiguous().to(torch.float32).div(255).sub_(MEAN).div_(STD)
    assert x.shape == (3, SIZE, SIZE)
    return b - a, c - b, time.perf_counter() - c


root = os.environ.get("NPR_TEST_DATA", "")
folders = [os.path.join(root, "images", "imagenet-sample"), os.path.join(root, "clip", "test_images")]
paths = [os.path.join(f, n) for f in folders if os.path.isdir(f) for n in sorted(os.listdir(f)) if n.lower().endswith((".jpg", ".jpeg"))]
if not paths:
    print("skipped: there are no reference photos (NPR_TEST_DATA)")
    sys.exit(77)
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
torch.set_num_threads(1)
program = os.path.join(os.environ["NPR_BIN"], "tests", "test_clip_preprocess")
p = subprocess.Popen([program, "measure"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
data = [open(path, "rb").read() for path in paths]
theirs, ours = np.full((len(paths), 3), np.inf), np.full((len(paths), len(STEPS)), np.inf)
for _ in range(ROUNDS):
    for i, path in enumerate(paths):
        theirs[i] = np.minimum(theirs[i], pillow(data[i]))
        p.stdin.write("%d %s\n" % (SIZE, path))
        p.stdin.flush()
        ours[i] = np.minimum(ours[i], [float(x) for x in p.stdout.readline().split()])
p.stdin.close()
assert p.wait(timeout=60) == 0
for what, t, names in (("Pillow and torch", theirs, ("decode", "resize", "rest")), ("npr", ours, STEPS)):
    ms = 1e3 * t.mean(0)
    print("%-16s %.3f ms per image, %.0f images/s:" % (what, ms.sum(), 1e3 / ms.sum()), " ".join("%s %.3f" % x for x in zip(names, ms)))
ratio = theirs.sum() / ours.sum()
print("ratio %.2f over %d photos; without torch's part %.2f; per photo %.2f to %.2f" % (
    ratio, len(paths), theirs[:, :2].sum() / ours[:, :5].sum(), *np.sort(theirs.sum(1) / ours.sum(1))[[0, -1]]))
sys.exit(int(ratio < float(os.environ["NPR_SPEED"])))
