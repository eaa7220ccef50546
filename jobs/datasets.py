#!/usr/bin/env python3
"""datasets.py - a data set's folder, as it is published, to the list of labelled images that npr-extract reads.

    datasets.py LAYOUT FOLDER --split=test --out=DIR [--names=FILE] [--wnids=FILE|FOLDER] [--labels=FILE]

    npr-extract --images=@DIR/test.tsv --root=FOLDER --kind=test ... --out=test

DIR/SPLIT.tsv      path below FOLDER, tab, label: one image a line. Labels are numbers, from 0
DIR/classes.txt    line n is the name of class n, as text: for npr-extract --classes and npr-search --names
DIR/wnids.txt      line n is the WordNet id of class n, where a layout has them
DIR/subset.txt     imagenet-r, imagenet-a: the numbers of their 200 classes, for npr-solve --classes-subset

LAYOUT, what of FOLDER is read, and what SPLIT can be:
  image-folder     a folder per class, in FOLDER or in FOLDER/SPLIT. Classes are the names of all splits' folders, sorted by bytes;
                   with --names its lines, in their order
  imagenet         train: a folder per wnid. val (or test, which is val): the same, or flat, with its label list: --labels, or
                   LOC_val_solution.csv, ILSVRC2012_validation_ground_truth.txt (its numbers need meta.mat, which stands beside it),
                   imagenet_2012_validation_synset_labels.txt or val.txt ("file number" or "file wnid"), in FOLDER, FOLDER/SPLIT,
                   or the folder above
  imagenet-v2      test: folders 0 to 999 (as numbers: sorted as text, 10 comes before 2), or wnids
  imagenet-r, -a   test: a folder for each of 200 wnids; labels are their places among all 1,000
  imagenet-sketch  test: a folder per wnid
  flowers102       train, val, trainval, test: jpg/, imagelabels.mat, setid.mat. Its files contain no class names:
                   the commonly used ones are built in (--names replaces them)
  oxford-pets      trainval, test: images/, annotations/{list,trainval,test}.txt
  stanford-cars    train, test: cars_train/, cars_test/, cars_meta.mat, cars_train_annos.mat, cars_test_annos_withlabels.mat (in
                   FOLDER or FOLDER/devkit)
  fgvc-aircraft    train, val, trainval, test: images/, variants.txt, images_variant_SPLIT.txt (in FOLDER or FOLDER/data)
  food101          train, test: images/, meta/{classes,train,test}.txt
  sun397           train, test: ClassName.txt, Training_NN.txt, Testing_NN.txt (--partition=NN, 01) in FOLDER or FOLDER/Partitions

A class's place in the layout's own class file is its label (first line or number: 0); wnids count sorted. Names become text: "_"
becomes a space, of SUN397 "/a/apse/indoor" becomes "apse indoor"; of "n01440764 tench, Tinca tinca" the name ends at the
first comma. Nothing else is changed: case, quotes and slashes stay.

ImageNet's names: the first synonyms of LOC_synset_mapping.txt are not the names that CLIP's authors and open_clip use
("crane" is both bird and machine there), and zero-shot accuracy differs: give CLIP's list with --names. jobs/README.md says
where it is.

--names: class names. Text: a line per class, in the order of labels (synonyms after tabs), or "wnid name" in any order. JSON: a
list; {"classnames": [...]}; or an object by wnid, or by number (from 0, or from 1), to a name or [wnid, name].
--wnids: the 1,000 wnids: a file whose lines begin with one (LOC_synset_mapping.txt), or ImageNet's train or val folder. Both are found
by themselves if FOLDER or the folder above has LOC_synset_mapping.txt.

Refused: a class or an image named twice, a folder that is no class, a label without class, a list that does not fit its images, more
than --max-missing listed images that are not there (those allowed are left out, and listed in DIR/SPLIT.missing.txt). Reported:
images that no list names, classes without images, classes of one name, images in two splits, counts that are not the published ones.
Byte order marks and CR LF are taken. Files that are there already must have the same bytes.

.mat files need scipy (Debian: python3-scipy): run this once where it is installed; nothing after it needs Python. Exit codes as of the
other programs: 64 usage, 65 bad data, 66 input missing, 73 cannot create, 74 I/O, 78 scipy missing.
"""
import argparse
import collections
import os
import sys

import layouts
from layouts import Failure, first_few

# Classes, and images of each split, as published.
PUBLISHED = {
    "imagenet": (1000, {"train": 1281167, "val": 50000}, "Russakovsky et al., IJCV 2015"),
    "imagenet-v2": (1000, {"test": 10000}, "Recht et al., ICML 2019"),
    "imagenet-r": (200, {"test": 30000}, "Hendrycks et al., ICCV 2021"),
    "imagenet-a": (200, {"test": 7500}, "Hendrycks et al., CVPR 2021"),
    "imagenet-sketch": (1000, {"test": 50889}, "Wang et al., NeurIPS 2019: the archive they published"),
    "flowers102": (102, {"train": 1020, "val": 1020, "trainval": 2040, "test": 6149}, "Nilsback and Zisserman, ICVGIP 2008"),
    "oxford-pets": (37, {"trainval": 3680, "test": 3669}, "Parkhi et al., CVPR 2012: the lists they published"),
    "stanford-cars": (196, {"train": 8144, "test": 8041}, "Krause et al., 3dRR 2013"),
    "fgvc-aircraft": (100, {"train": 3334, "val": 3333, "trainval": 6667, "test": 3333}, "Maji et al., arXiv 1306.5151"),
    "food101": (101, {"train": 75750, "test": 25250}, "Bossard et al., ECCV 2014"),
    "sun397": (397, {"train": 19850, "test": 19850}, "Xiao et al., CVPR 2010: each of its ten partitions"),
}
SUBSETS = ("imagenet-r", "imagenet-a")


def warn(text):
    print(f"datasets.py: warning: {text}", file=sys.stderr)


def check_names(names):
    """Every name is a line of text, and if two classes have one name, that is said."""
    for number, name in enumerate(names):
        main = name.split("\t")[0]
        if not main.strip():
            raise Failure(65, f"class {number} has no name")
        if any(ord(c) < 32 and c != "\t" or 127 <= ord(c) < 160 for c in name):
            raise Failure(65, f"the name of class {number} has a control character: {name!r}")
        if main[0] == main[-1] == '"':
            raise Failure(65, f"the name of class {number} is in quotes, as in a table: {main}")
    places = collections.defaultdict(list)
    for number, name in enumerate(names):
        places[name.split("\t")[0].lower()].append(number)
    for name, numbers in places.items():
        if len(numbers) > 1:
            warn(f'classes {" and ".join(map(str, numbers))} are both called "{name}": no prompt or caption can tell them apart')


def check_images(data):
    """What is listed and what is there: a path once, each of them on the disk; gives the listed images that are missing."""
    seen = {}
    for path, label in data.images:
        if any(c in path for c in "\t\n\r"):
            raise Failure(65, f"{path!r}: a name with a tab or a line break cannot be listed")
        if path in seen:
            raise Failure(65, f"{path}: named twice in {data.listed_in}, as class {seen[path]} and as class {label}")
        seen[path] = label
    missing = [path for path, _ in data.images if path not in data.on_disk]
    extra = sorted(data.on_disk - seen.keys() - data.elsewhere)
    if extra:
        warn(f"{len(extra)} images are in no list: {first_few(extra)}")
    both = sorted(seen.keys() & data.elsewhere)
    if both:
        warn(f"{len(both)} images are in another split too: {first_few(both)}")
    return missing


def check_counts(options, data, images):
    """Classes without images; counts that are not the published ones."""
    have = {label for _, label in images}
    none = [data.names[c].split("\t")[0] for c in range(len(data.names)) if c not in have]
    if none and options.layout not in SUBSETS:
        warn(f"{len(none)} of {len(data.names)} classes have no image here: {first_few(none)}")
    if options.layout not in PUBLISHED:
        return have
    classes, splits, source = PUBLISHED[options.layout]
    found = len(have) if options.layout in SUBSETS else len(data.names)
    for what, got, wanted in (("classes", found, classes), ("images", len(images), splits[options.split])):
        if got != wanted:
            warn(f"{options.folder}: {got} {what}; {options.layout} has {wanted} ({source})")
    return have


def write(path, lines):
    """A file that is there must be the same; else it appears when it is whole and on the disk."""
    data = b"".join(os.fsencode(line) + b"\n" for line in lines)
    temp = f"{path}.tmp.{os.getpid()}"
    try:
        if os.path.exists(path):
            with open(path, "rb") as f:
                if f.read() == data:
                    return
            raise Failure(73, f"{path}: is there already, and is another one; remove it, or write elsewhere")
        with open(temp, "wb") as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        os.replace(temp, path)
    except OSError as e:
        raise Failure(73 if e.filename == temp else 74, f"{e.filename or path}: {e.strerror or e}") from e
    finally:
        if os.path.exists(temp):
            os.unlink(temp)


def convert(options):
    data = layouts.read(options)
    check_names(data.names)
    missing = check_images(data)
    if len(missing) > options.max_missing:
        raise Failure(66, f"{options.folder}: {len(missing)} of {len(data.images)} images that {data.listed_in} names are not there: "
                          f"{first_few(missing)}; --max-missing={len(missing)} leaves them out")
    gone = set(missing)
    images = [(path, label) for path, label in data.images if path not in gone]
    if not images:
        raise Failure(65, f"{options.folder}: no image")
    have = check_counts(options, data, images)
    try:
        os.makedirs(options.out, exist_ok=True)
    except OSError as e:
        raise Failure(73, f"{options.out}: {e.strerror}") from e
    where = os.path.join(options.out, options.written_as)
    write(os.path.join(options.out, "classes.txt"), data.names)
    if data.wnids:
        write(os.path.join(options.out, "wnids.txt"), data.wnids)
    if options.layout in SUBSETS:
        write(os.path.join(options.out, "subset.txt"), [str(c) for c in sorted(have)])
    if missing:
        write(where + ".missing.txt", missing)
    write(where + ".tsv", [f"{path}\t{label}" for path, label in images])
    for key, value in (("layout", options.layout), ("split", options.split), ("listed_in", data.listed_in), ("images", len(images)),
                       ("missing", len(missing)), ("classes", len(data.names)), ("classes_with_images", len(have)),
                       ("names_from", data.names_from)):
        print(f"result.{key}={value}")


def main():
    parser = argparse.ArgumentParser(usage="datasets.py LAYOUT FOLDER --split=SPLIT --out=DIR [options]", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("layout", metavar="LAYOUT")
    parser.add_argument("folder", metavar="FOLDER")
    parser.add_argument("--split", required=True, metavar="SPLIT")
    parser.add_argument("--out", required=True, metavar="DIR")
    parser.add_argument("--names", metavar="FILE", help="names of the classes")
    parser.add_argument("--wnids", metavar="FILE|FOLDER", help="the wnids of all classes")
    parser.add_argument("--labels", metavar="FILE", help="label list of a flat ImageNet val folder")
    parser.add_argument("--partition", default="01", metavar="NN", help="of SUN397 (01)")
    parser.add_argument("--max-missing", type=int, default=0, metavar="N", help="listed images that may be missing (0)")
    parser.error = lambda text: (print(f"datasets.py: {text}", file=sys.stderr), sys.exit(64))
    options = parser.parse_args()
    options.folder = options.folder.rstrip("/") or "/"
    options.written_as = options.split
    try:
        if options.layout not in layouts.LAYOUTS:
            raise Failure(64, f"unknown layout {options.layout} (known: {', '.join(layouts.LAYOUTS)})")
        if options.layout == "imagenet" and options.split == "test":
            options.split = "val"
        known = PUBLISHED.get(options.layout, (0, {options.split: 0}))[1]
        if options.split not in known:
            raise Failure(64, f"{options.layout} has no split {options.split} (it has {', '.join(known)})")
        if not os.path.isdir(options.folder):
            raise Failure(66, f"{options.folder}: no such folder")
        convert(options)
    except Failure as e:
        print(f"datasets.py: {e}", file=sys.stderr)
        return e.code
    except OSError as e:
        print(f"datasets.py: {e.filename}: {e.strerror}", file=sys.stderr)
        return 66 if isinstance(e, FileNotFoundError) else 74
    return 0


if __name__ == "__main__":
    sys.exit(main())
