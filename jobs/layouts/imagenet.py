"""imagenet.py - ImageNet's train and val folders; val may be flat, with a list of labels in one of the forms that are about."""
import csv
import os
import re

from layouts.files import Data, Failure, field, first_few, first_of, list_images, read_lines, read_mat
from layouts.folders import class_folders, wnid_folders
from layouts.names import WNID, read_names, read_wnids, text_of, wnid_names

LISTS = ("LOC_val_solution.csv", "ILSVRC2012_validation_ground_truth.txt", "imagenet_2012_validation_synset_labels.txt", "val.txt")


def stem(path):
    return os.path.splitext(os.path.basename(path))[0]


def solution_rows(path, lines):
    """Kaggle's table: image, then the same wnid before each of its boxes."""
    for number, row in enumerate(csv.reader(lines[1:]), 2):
        wnids = {word for word in row[1].split() if WNID.match(word)} if len(row) == 2 else ()
        if len(wnids) != 1:
            raise Failure(65, f"{path}: line {number}: wanted an image and one wnid, found {','.join(row)[:80]}")
        yield row[0], wnids.pop()


def list_rows(path):
    """Image, or the number of the line, and label as text."""
    lines = read_lines(path)
    if lines[0].lower().startswith("imageid,"):
        yield from solution_rows(path, lines)
        return
    words = len(lines[0].split())
    for number, line in enumerate(lines, 1):
        row = line.split()
        if len(row) != words or words > 2:
            raise Failure(65, f"{path}: line {number}: wanted {'a label' if words == 1 else 'an image and a label'}, found {line[:80]}")
        yield (row[0] if words == 2 else number), row[-1]


def read_devkit(path):
    """meta.mat of the development kit: {ILSVRC2012_ID: wnid} of the classes, and {wnid: name}."""
    synsets = field(read_mat(path), "synsets", path)
    for key in ("ILSVRC2012_ID", "WNID", "words", "num_children"):
        if key not in (synsets.dtype.names or ()):
            raise Failure(65, f'{path}: its synsets have no "{key}"')
    leaves = [s for s in synsets if int(s["num_children"]) == 0]
    return ({int(s["ILSVRC2012_ID"]): str(s["WNID"]) for s in leaves},
            {str(s["WNID"]): text_of(str(s["words"]).split(",")[0]) for s in leaves})


def label_of_words(path, rows, wnids, devkit):
    """From a list's label as text to a class."""
    words = {word for _, word in rows}
    if all(map(WNID.match, words)):
        place = {w: i for i, w in enumerate(wnids)}
    elif not all(map(str.isdecimal, words)):
        raise Failure(65, f"{path}: labels are wnids or numbers, found {first_few(sorted(w for w in words if not WNID.match(w)))}")
    elif devkit:
        place = {str(number): wnids.index(wnid) for number, wnid in devkit.items()}
    elif not any(int(w) == 0 for w in words) and any(int(w) >= len(wnids) for w in words):
        raise Failure(65, f"{path}: numbers go from 1 to {len(wnids)}: those of the development kit are not in the order of wnids, and 1 "
                          "to 1000 may be those; give a list with wnids, or with numbers from 0")
    else:
        place = {str(i): i for i in range(len(wnids))}
    unknown = sorted(words - place.keys())
    if unknown:
        raise Failure(65, f"{path}: {len(unknown)} labels are no class: {first_few(unknown)}")
    return place


def images_by_key(root, folder, numbers):
    """Images of a flat folder by stem, or by the number at the end of it."""
    images, key = {}, (lambda p: int(re.search(r"(\d+)$", stem(p)).group(1))) if numbers else stem
    for path in list_images(root, folder)[0]:
        if numbers and not re.search(r"\d$", stem(path)):
            raise Failure(65, f"{path}: ends in no number, and the list of labels has a line per number")
        if key(path) in images:
            raise Failure(65, f"{path} and {images[key(path)]}: one name, or one number, twice")
        images[key(path)] = path
    return images


def flat(options, folder):
    near = [os.path.join(options.folder, folder), options.folder, os.path.dirname(os.path.abspath(options.folder))]
    path = options.labels or first_of(near, LISTS, "list of labels for a flat folder (--labels=FILE)")
    rows = list(list_rows(path))
    by_number = isinstance(rows[0][0], int)
    wnids, found = read_wnids(options)
    devkit, names = None, None
    if by_number and not WNID.match(rows[0][1]):
        devkit, names = read_devkit(first_of([os.path.dirname(path) or "."], ["meta.mat"], "meaning of the numbers"))
        if wnids and set(wnids) != set(devkit.values()):
            raise Failure(65, f"{path}: meta.mat has other wnids than {options.wnids or found}")
        wnids = sorted(devkit.values())
    if not wnids:
        wnids = sorted({word for _, word in rows})
        if len(wnids) != 1000 or not all(map(WNID.match, wnids)):
            raise Failure(66, f"{path}: has {len(wnids)} different labels; say which classes there are with --wnids=FILE")
    place = label_of_words(path, rows, wnids, devkit)
    there = images_by_key(options.folder, folder, by_number)
    listed = [(there.get(name if by_number else stem(name), os.path.join(folder, str(name))), place[word]) for name, word in rows]
    if names and not options.names and not found:
        names, origin = [names[w] for w in wnids], os.path.join(os.path.dirname(path), "meta.mat")
    else:
        names, origin = wnid_names(options, wnids, found)
    return Data(names, listed, set(there.values()), path, origin, wnids=wnids)


def imagenet(options):
    below = os.path.isdir(os.path.join(options.folder, options.split))
    folder = options.split if below else ""
    if options.split == "train" or class_folders(options.folder, folder):
        return wnid_folders(options, folder)
    return flat(options, folder)
