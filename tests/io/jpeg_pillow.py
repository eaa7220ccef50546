"""Decoded pixels are Pillow's, bit for bit, for every mode, subsampling and kind of file; what Pillow calls truncated is truncated here, at every length;
and of files with changed bytes the same are taken, with the same pixels, except that too many warnings are a fault here."""
import io
import os
import random
import subprocess
import sys
import tempfile
import warnings

try:
    import numpy as np
    from PIL import Image, ImageFile, UnidentifiedImageError
except ImportError:
    print("skipped: python3-numpy or python3-pil is not installed")
    sys.exit(77)

warnings.simplefilter("ignore")  # of damaged metadata, which is not looked at
ImageFile.MAXBLOCK = 1 << 22
PROGRAM = os.path.join(os.environ["NPR_BIN"], "tests", "test_io_jpeg")
SEEDS = os.path.join(os.environ["NPR_SOURCE"], "tests", "data", "fuzz", "jpeg")
FAULTS = ["ok", "unreadable", "not_jpeg", "truncated", "too_large", "damaged"]
MODES = {1: "L", 3: "RGB", 4: "CMYK"}


def ours(cases):
    """(fault, mode, pixels) of the first n bytes of each (n, path)."""
    lines = "".join("%d %s\n" % case for case in cases)
    out = subprocess.run([PROGRAM, "dump"], input=lines.encode(), capture_output=True, check=True, timeout=300).stdout
    at, found = 0, []
    for _ in cases:
        fault, w, h, c = np.frombuffer(out, "<i4", 4, at)
        at += 16
        size = 0 if fault else int(w) * int(h) * int(c)
        found.append((FAULTS[fault], None if fault else MODES[c], out[at : at + size]))
        at += size
    assert at == len(out)
    return found


def pillow(data):
    try:
        im = Image.open(io.BytesIO(data), formats=["JPEG"])
        im.load()
        return "ok", im.mode, im.tobytes()
    except (UnidentifiedImageError, SyntaxError):
        return "header", None, b""
    except OSError as e:
        found = {"image file is truncated": "truncated", "Truncated File Read": "header"}
        return next((found[words] for words in found if words in str(e)), "broken"), None, b""
    except Exception:  # its header reader trips over what it does not expect
        return "header", None, b""


def picture(rng, mode, w, h):
    c = len(mode) if mode != "L" else 1
    v = np.random.RandomState(rng.randrange(1 << 30)).randint(0, 256, (h, w, c)).astype("u1")
    v[: h // 2] = v[: h // 2] // 16 + 100  # a calm half
    return Image.fromarray(v[:, :, 0] if c == 1 else v, mode)


def whole_files(folder, rng):
    paths = []
    for i in range(120):
        mode = ("L", "RGB", "RGB", "CMYK")[i % 4]
        options = {"quality": rng.choice([10, 75, 95, 100]), "progressive": bool(rng.randrange(2)), "optimize": bool(rng.randrange(2))}
        if mode == "RGB":
            options["subsampling"] = i // 4 % 3
        path = os.path.join(folder, "whole-%d.jpg" % i)
        picture(rng, mode, rng.randint(1, 150), rng.randint(1, 150)).save(path, **options)
        paths.append(path)
    paths += sorted(os.path.join(SEEDS, n) for n in os.listdir(SEEDS))
    for path, got in zip(paths, ours([(-1, p) for p in paths])):
        assert got == pillow(open(path, "rb").read()), path
    return len(paths)


def prefixes():
    count = 0
    for name in sorted(set(os.listdir(SEEDS)) - {"large.jpg"}):
        path = os.path.join(SEEDS, name)
        data = open(path, "rb").read()
        lengths = range(len(data) + 1)
        for n, got in zip(lengths, ours([(n, path) for n in lengths])):
            want = pillow(data[:n])
            if want[0] == "header":  # Pillow gives up before its decoder runs
                assert got[0] == ("truncated" if n >= 3 else "not_jpeg"), (name, n, got[0])
            else:
                assert got == want, (name, n, got[0], want[0])
            count += 1
    return count


def changed(folder, rng):
    """Of changed files: who takes them, and with which pixels. Returns how many were taken by both, and refused here for warnings only."""
    cases, data = [], []
    seeds = [open(os.path.join(SEEDS, n), "rb").read() for n in sorted(os.listdir(SEEDS))]
    for i in range(2000):
        b = bytearray(rng.choice(seeds))
        for _ in range(rng.choice([1, 1, 2, 5])):
            b[rng.randrange(2, len(b))] ^= rng.choice([1 << rng.randrange(8), 0xFF])
        path = os.path.join(folder, "changed-%d.jpg" % i)
        open(path, "wb").write(b)
        cases.append((-1, path))
        data.append(bytes(b))
    both = warned = 0
    for (_, path), b, got in zip(cases, data, ours(cases)):
        want = pillow(b)
        if got[0] == "ok" and want[0] == "ok":
            assert got == want, path
            both += 1
        elif want[0] == "ok":
            assert got[0] in ("damaged", "too_large"), (path, got[0])
            warned += 1
        elif want[0] == "truncated":
            assert got[0] in ("truncated", "damaged", "too_large"), (path, got[0])
        else:
            assert got[0] != "ok", (path, want[0])
    return both, warned


rng = random.Random(11)
with tempfile.TemporaryDirectory() as folder:
    print("%d whole files are the same" % whole_files(folder, rng))
    print("%d prefixes end the same" % prefixes())
    both, warned = changed(folder, rng)
    assert both > 400 and warned < 300, (both, warned)
    print("2000 changed files: %d taken by both with the same pixels, %d by Pillow only" % (both, warned))
