"""files.py - reading what data sets consist of: text files, .mat files, folders of images."""
import dataclasses
import os

# What npr-extract takes for an image in a folder.
SUFFIXES = {"jpg", "jpeg", "jpe", "png", "webp", "gif", "bmp", "tif", "tiff", "ppm"}


class Failure(Exception):
    """What went wrong, and the exit code that says so."""

    def __init__(self, code, text):
        super().__init__(text)
        self.code = code


@dataclasses.dataclass
class Data:
    """A split: paths are relative to the folder."""
    names: list  # of the classes, in the order of labels
    images: list  # (path, label)
    on_disk: set  # images that are there, where this split's and the others' are
    listed_in: str  # what says which images there are
    names_from: str
    elsewhere: set = dataclasses.field(default_factory=set)  # images of other splits
    wnids: list = None


def first_few(items, most=5):
    return ", ".join(map(str, items[:most])) + (", ..." if len(items) > most else "")


def read_lines(path):
    """Lines of a text file without their ends; none of them is empty."""
    with open(path, "rb") as f:
        data = f.read()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise Failure(65, f"{path}: byte {e.start} is not UTF-8") from e
    lines = [line[:-1] if line.endswith("\r") else line for line in text.split("\n")]
    while lines and not lines[-1].strip():
        lines.pop()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            raise Failure(65, f"{path}: line {number} is empty")
    if not lines:
        raise Failure(65, f"{path}: is empty")
    return lines


def first_of(folders, names, what):
    """The first of these files that is there."""
    for folder in folders:
        for name in names:
            if os.path.isfile(os.path.join(folder, name)):
                return os.path.join(folder, name)
    raise Failure(66, f"no {what}: wanted {' or '.join(names)} in {' or '.join(folders)}")


def read_mat(path):
    try:
        import scipy.io
    except ImportError as e:
        raise Failure(78, f"{path}: reading it needs scipy, which is missing: apt-get install python3-scipy, or python3 -m venv V && "
                          "V/bin/pip install scipy, then run this with V/bin/python; it is needed only for this conversion") from e
    try:
        return scipy.io.loadmat(path, squeeze_me=True)
    except OSError:
        raise
    except Exception as e:  # scipy raises of many kinds for damaged files
        raise Failure(65, f"{path}: {' '.join(str(e).split())}") from e


def field(mat, key, path):
    """A variable of a .mat file, as an array of one dimension."""
    import numpy
    if key not in mat:
        raise Failure(65, f"{path}: has no \"{key}\"; it has {', '.join(k for k in mat if not k.startswith('__'))}")
    return numpy.atleast_1d(mat[key]).reshape(-1)


def list_images(root, folder):
    """Paths of the images in root/folder, sorted by bytes, relative to root; and names of its sub-folders."""
    images, folders = [], []
    with os.scandir(os.path.join(root, folder)) as entries:
        for e in entries:
            if e.name.startswith("."):
                continue
            if e.is_dir():
                folders.append(e.name)
            elif e.name.rpartition(".")[2].lower() in SUFFIXES:
                images.append(os.path.join(folder, e.name))
    return sorted(images, key=os.fsencode), sorted(folders, key=os.fsencode)
