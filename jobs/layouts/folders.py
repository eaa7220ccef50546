"""folders.py - a folder per class: ImageFolder, ImageNet's train and val, -V2, -R, -A and -Sketch."""
import os

from layouts.files import Data, Failure, first_few, list_images
from layouts.names import WNID, numbers_of, read_names, read_wnids, text_of, wnid_names

SPLITS = {"train", "val", "valid", "validation", "test"}


def class_folders(root, folder):
    """Class folders in root/folder; no image may lie beside them."""
    images, folders = list_images(root, folder)
    if images and folders:
        raise Failure(65, f"{os.path.join(root, folder)}: has images beside folders ({images[0]}): it is unclear what their class is")
    return folders


def images_of_class(root, folder, name):
    images, deeper = list_images(root, os.path.join(folder, name))
    if deeper:
        raise Failure(65, f'{os.path.join(root, folder, name)}: has a folder "{deeper[0]}" in it: images of a class lie in one folder')
    return images


def make_data(options, folder, label, names, names_from, wnids=None):
    """Images of class folders; label: of each folder's name."""
    images = [(path, label[name]) for name in sorted(label, key=lambda n: (label[n], n))
              for path in images_of_class(options.folder, folder, name)]
    where = os.path.join(options.folder, folder).rstrip("/")
    return Data(names, images, {path for path, _ in images}, where, names_from, wnids=wnids)


def numbered(options, folder, here):
    """Folders that are called by the number of their class: the number is the label."""
    wnids, found = read_wnids(options)
    origin = options.names or found
    if not origin:
        raise Failure(66, f"{options.folder}: its folders are numbers: give the names of the classes with --names=FILE")
    names = read_names(origin, len(wnids) if wnids else None, wnids)
    wrong = [name for name in here if str(int(name)) != name or int(name) >= len(names)]
    if wrong:
        raise Failure(65, f"{options.folder}: wanted folders 0 to {len(names) - 1}, as {origin} has {len(names)} names; found "
                          f"{first_few(wrong)}")
    return make_data(options, folder, {name: int(name) for name in here}, names, origin, wnids)


def wnid_folders(options, folder=""):
    here = class_folders(options.folder, folder)
    wrong = [name for name in here if not WNID.match(name)]
    if wrong or not here:
        raise Failure(65, f"{os.path.join(options.folder, folder)}: wanted a folder per wnid, found {first_few(wrong) or 'none'}")
    wnids, found = read_wnids(options)
    if not wnids and options.layout in ("imagenet-r", "imagenet-a"):
        raise Failure(66, f"{options.folder}: has {len(here)} of ImageNet's classes: say which there are with --wnids=FILE, or =FOLDER, "
                          "of ImageNet's train or val")
    wnids = wnids or here
    extra = sorted(set(here) - set(wnids))
    if extra:
        raise Failure(65, f"{options.folder}: {len(extra)} folders are not among the {len(wnids)} wnids: {first_few(extra)}")
    names, origin = wnid_names(options, wnids, found)
    return make_data(options, folder, {w: i for i, w in enumerate(wnids) if w in set(here)}, names, origin, wnids)


def imagenet_v2(options):
    here = class_folders(options.folder, "")
    return numbered(options, "", here) if here and all(map(str.isdecimal, here)) else wnid_folders(options)


def find_splits(options):
    """The folders of all splits, and that of this one; "": FOLDER itself."""
    folders = class_folders(options.folder, "")
    if options.split not in folders:
        return [""], ""
    other = sorted(set(folders) - SPLITS - {options.split})
    if other:
        raise Failure(65, f'{options.folder}: has "{options.split}" beside "{other[0]}": is it a split or a class?')
    return folders, options.split


def image_folder(options):
    splits, split = find_splits(options)
    here = class_folders(options.folder, split)
    known = sorted({name for s in splits for name in class_folders(options.folder, s)}, key=os.fsencode)
    if not here:
        raise Failure(65, f"{os.path.join(options.folder, split)}: has no folder per class")
    if all(map(str.isdecimal, known)):
        return numbered(options, split, here)
    names, origin = [text_of(name) for name in known], "names of folders"
    if options.names:
        names, origin = read_names(options.names), options.names
    number = numbers_of([name.split("\t")[0] for name in names], origin)
    extra = [name for name in known if text_of(name) not in number]
    if extra:
        raise Failure(65, f"{options.folder}: {len(extra)} folders are no class of {origin}: {first_few(extra)}")
    return make_data(options, split, {name: number[text_of(name)] for name in here}, names, origin)
