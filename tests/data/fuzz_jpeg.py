"""fuzz_jpeg.py - writes the seeds fuzz/jpeg/*.jpg beside this script: the smallest files of each kind the decoder knows. The pictures are synthetic."""
import io
import os
import random

from PIL import Image

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fuzz", "jpeg")


def picture(mode, w, h):
    r = random.Random(w * 100 + h)
    im = Image.new(mode, (w, h))
    bands = len(im.getbands())
    im.putdata([tuple(r.randrange(256) for _ in range(bands)) if bands > 1 else r.randrange(256) for _ in range(w * h)])
    return im


def jpeg(mode, w, h, **options):
    out = io.BytesIO()
    picture(mode, w, h).save(out, "JPEG", quality=20, optimize=True, **options)
    return out.getvalue()


def with_markers(data, *markers):
    """The same file with segments put in behind its first marker."""
    extra = b"".join(b"\xff" + bytes([m]) + (len(body) + 2).to_bytes(2, "big") + body for m, body in markers)
    return data[:2] + extra + data[2:]


def ycck(data):
    """The CMYK file's Adobe marker says YCCK."""
    at = data.index(b"Adobe")
    return data[: at + 11] + b"\x02" + data[at + 12 :]


seeds = {
    "grey": jpeg("L", 9, 7),
    "rgb444": jpeg("RGB", 9, 7, subsampling=0),
    "rgb422": jpeg("RGB", 17, 5, subsampling=1),
    "rgb420": jpeg("RGB", 33, 18, subsampling=2),
    "progressive": jpeg("RGB", 20, 19, progressive=True),
    "progressive_grey": jpeg("L", 20, 9, progressive=True),
    "cmyk": jpeg("CMYK", 9, 9),
    "ycck": ycck(jpeg("CMYK", 9, 9)),
    "large": jpeg("RGB", 100, 60, subsampling=2),
    "markers": with_markers(jpeg("L", 8, 8), (0xE1, b"Exif\0\0MM\0*\0\0\0\x08\0\0"), (0xFE, b"a comment"), (0xDD, b"\0\1")),
}
os.makedirs(HERE, exist_ok=True)
for name, data in seeds.items():
    with open(os.path.join(HERE, name + ".jpg"), "wb") as f:
        f.write(data)
