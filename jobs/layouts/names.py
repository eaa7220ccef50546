"""names.py - names of classes and WordNet ids, from files of several forms."""
import json
import os
import re

from layouts.files import Failure, first_few, list_images, read_lines

WNID = re.compile(r"n\d{8}$")


def text_of(name):
    return name.replace("_", " ").strip()


def numbers_of(lines, path):
    """A class file of a data set: its lines, and the number of each."""
    number = {}
    for line in (line.strip() for line in lines):
        if line in number:
            raise Failure(65, f'{path}: the class "{line}" is named twice, in lines {number[line] + 1} and {len(number) + 1}')
        number[line] = len(number)
    return number


def names_from_json(path, wnids):
    try:
        with open(path, encoding="utf-8-sig") as f:
            tree = json.load(f)
    except ValueError as e:
        raise Failure(65, f"{path}: is no JSON: {e}") from e
    if isinstance(tree, dict) and isinstance(tree.get("classnames"), list):
        tree = tree["classnames"]
    if isinstance(tree, dict) and wnids and all(WNID.match(k) for k in tree):
        missing = [w for w in wnids if w not in tree]
        if missing:
            raise Failure(65, f"{path}: {len(missing)} wnids have no name: {first_few(missing)}")
        tree = [tree[w] for w in wnids]
    elif isinstance(tree, dict):
        first = 0 if "0" in tree else 1
        if tree.keys() != {str(first + i) for i in range(len(tree))}:
            raise Failure(65, f"{path}: wanted names by numbers from 0 or from 1, without a gap")
        tree = [tree[str(first + i)] for i in range(len(tree))]
    for i, item in enumerate(tree):
        if isinstance(item, list) and len(item) == 2:
            if wnids and i < len(wnids) and item[0] != wnids[i]:
                raise Failure(65, f"{path}: class {i} is {item[0]} there; wanted {wnids[i]}")
            tree[i] = item[1]
        if not isinstance(tree[i], str):
            raise Failure(65, f"{path}: class {i} has no text as its name")
    return tree


def names_from_wnid_lines(path, lines, wnids):
    names = {}
    for number, line in enumerate(lines, 1):
        wnid, _, rest = line.partition("\t" if line[9:10] == "\t" else " ")
        if wnid in names:
            raise Failure(65, f"{path}: line {number}: {wnid} is named twice")
        names[wnid] = rest.split(",")[0]
    missing = [w for w in wnids if w not in names]
    if missing:
        raise Failure(65, f"{path}: {len(missing)} wnids have no line: {first_few(missing)}")
    return [names[w] for w in wnids]


def read_names(path, count=None, wnids=None):
    """Names of the classes, in the order of labels: so many, if it is known how many there are."""
    if path.endswith(".json"):
        names = names_from_json(path, wnids)
    else:
        names = read_lines(path)
        if wnids and all(WNID.match(line[:9]) and line[9:10] in ("", " ", "\t") for line in names):
            names = names_from_wnid_lines(path, names, wnids)
    if count not in (None, len(names)):
        raise Failure(65, f"{path}: names {len(names)} classes, there are {count}")
    return [text_of(name) for name in names]


def read_wnids(options):
    """All wnids, sorted: their places are the labels. And a file that has names too, or None."""
    path, found = options.wnids, None
    for folder in (options.folder, os.path.dirname(os.path.abspath(options.folder))):
        candidate = os.path.join(folder, "LOC_synset_mapping.txt")
        if not found and os.path.isfile(candidate):
            found = candidate
    path = path or found
    if not path:
        return None, None
    if os.path.isdir(path):
        wnids = [name for name in list_images(path, "")[1] if WNID.match(name)]
    else:
        wnids = [line[:9] for line in read_lines(path)]
    wrong = [w for w in wnids if not WNID.match(w)]
    if wrong or not wnids:
        raise Failure(65, f"{path}: wanted wnids such as n01440764, found {first_few(wrong) or 'none'}")
    if len(set(wnids)) != len(wnids):
        raise Failure(65, f"{path}: {first_few(sorted(w for w in set(wnids) if wnids.count(w) > 1))}: named twice")
    return sorted(wnids), found


def wnid_names(options, wnids, found):
    path = options.names or found
    if not path:
        raise Failure(66, f"{options.folder}: its classes are wnids, which no prompt should say: give their names with --names=FILE")
    return read_names(path, len(wnids), wnids), path
