"""JPEG to tensor is what Pillow, torchvision's geometry and torch make of it, bit for bit: the reference arrays, and cases made here of every
mode, of many shapes and sizes. torch is used for the last step where it is installed, else numpy in float32."""
import os
import random
import subprocess
import sys
import tempfile

try:
    import numpy as np
    from PIL import Image, ImageFile
except ImportError:
    print("skipped: python3-numpy or python3-pil is not installed")
    sys.exit(77)

MEAN = np.array([0.48145466, 0.4578275, 0.40821073], "f4")
STD = np.array([0.26862954, 0.26130258, 0.27577711], "f4")
PROGRAM = os.path.join(os.environ["NPR_BIN"], "tests", "test_clip_preprocess")
DATA = os.environ.get("NPR_TEST_DATA", "")
Image.MAX_IMAGE_PIXELS = None
ImageFile.MAXBLOCK = 1 << 22  # Pillow's encoder wants room for a whole progressive file


def ours(cases):
    """(rgb, chw) of each (size, path); None where it is refused."""
    lines = "".join("%d %s\n" % case for case in cases)
    out = subprocess.run([PROGRAM, "dump"], input=lines.encode(), capture_output=True, check=True, timeout=300).stdout
    at, found = 0, []
    for size, _ in cases:
        fault = np.frombuffer(out, "<i4", 1, at)[0]
        at += 4
        n = 3 * size * size
        if fault:
            found.append(None)
            continue
        rgb = np.frombuffer(out, "u1", n, at).reshape(size, size, 3)
        found.append((rgb, np.frombuffer(out, "<f4", n, at + n).reshape(3, size, size)))
        at += 5 * n
    assert at == len(out)
    return found


def pillow(size, path):
    """Resize, CenterCrop and convert as torchvision 0.14 calls Pillow."""
    im = Image.open(path)
    w, h = im.size
    short, long = min(w, h), max(w, h)
    new = int(size * long / short)
    im = im.resize((size, new) if w <= h else (new, size), Image.BICUBIC)
    left, top = int(round((im.width - size) / 2.0)), int(round((im.height - size) / 2.0))
    return np.asarray(im.crop((left, top, left + size, top + size)).convert("RGB"))


def normalize(rgb):
    try:
        import torch
        x = torch.from_numpy(rgb.copy()).permute(2, 0, 1).contiguous().to(torch.float32).div(255)
        return x.sub_(torch.from_numpy(MEAN).view(-1, 1, 1)).div_(torch.from_numpy(STD).view(-1, 1, 1)).numpy()
    except ImportError:
        return ((rgb.astype("f4") / np.float32(255) - MEAN) / STD).transpose(2, 0, 1)


def references():
    """The arrays that came with the reference data; returns how many images were compared."""
    folder = os.path.join(DATA, "images", "imagenet-sample")
    count = 0
    if os.path.exists(os.path.join(folder, "expected_u8_224.npy")):
        names = open(os.path.join(folder, "names.txt")).read().split()
        want = np.load(os.path.join(folder, "expected_u8_224.npy"))
        got = ours([(224, os.path.join(folder, n)) for n in names])
        for i, name in enumerate(names):
            assert np.array_equal(got[i][0], want[i]), name
        count += len(names)
    folder = os.path.join(DATA, "clip", "vitb32-reference")
    if os.path.exists(os.path.join(folder, "preprocessed_f32.npy")):
        names = open(os.path.join(folder, "names.txt")).read().split()
        want = np.load(os.path.join(folder, "preprocessed_f32.npy"))
        got = ours([(224, os.path.join(DATA, "clip", "test_images", n + ".jpg")) for n in names])
        for i, name in enumerate(names):
            assert got[i][1].tobytes() == want[i].tobytes(), (name, np.abs(got[i][1] - want[i]).max())
        count += len(names)
    return count


def picture(rng, mode, w, h):
    """Smooth colours with noise, so that all values occur and edges overshoot."""
    c = len(Image.new(mode, (1, 1)).getbands())
    y, x, k = np.mgrid[0:h, 0:w, 0:c]
    a, b = rng.uniform(0.01, 0.9), rng.uniform(0.01, 0.9)
    v = 127 + 150 * np.sin(a * x + k) * np.cos(b * y - k) + np.random.RandomState(rng.randrange(1 << 30)).normal(0, 25, (h, w, c))
    v = np.clip(v, 0, 255).astype("u1")
    return Image.fromarray(v[:, :, 0] if c == 1 else v, mode)


def made(folder, rng):
    shapes = [(1, 1), (1, 2), (2, 1), (1, 400), (400, 1), (3, 1000), (1000, 3), (48, 48), (47, 49), (224, 224), (224, 225), (225, 224),
              (224, 226), (226, 224), (336, 335), (640, 480), (481, 639), (15, 16), (17, 40)]
    shapes += [(rng.randint(1, 700), rng.randint(1, 700)) for _ in range(20)]
    exif = Image.Exif()
    cases = []
    for i, (w, h) in enumerate(shapes):
        for mode in ("L", "RGB", "CMYK"):
            options = {"quality": rng.choice([30, 75, 95, 100]), "subsampling": rng.choice([0, 1, 2]), "progressive": i % 3 == 0}
            if mode == "CMYK":
                del options["subsampling"]
            if i % 4 == 1:
                exif[0x0112] = rng.randint(1, 8)
                options["exif"] = exif
            path = os.path.join(folder, "%d-%s.jpg" % (i, mode))
            picture(rng, mode, w, h).save(path, **options)
            cases.append((rng.choice([48, 224, 224, 336]) if max(w, h) < 400 * min(w, h) else 48, path))
    return cases


rng = random.Random(7)
compared = references()
if not compared:
    print("the reference data is not here (NPR_TEST_DATA): only images made here are compared")
with tempfile.TemporaryDirectory() as folder:
    cases = made(folder, rng)
    for case, got in zip(cases, ours(cases)):
        want = pillow(*case)
        assert got is not None, case
        assert np.array_equal(got[0], want), (case, np.abs(got[0].astype(int) - want).max())
        assert got[1].tobytes() == np.ascontiguousarray(normalize(want), "<f4").tobytes(), case
print("%d images of the reference data and %d made here are the same bits" % (compared, len(cases)))
