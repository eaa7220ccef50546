"""transfer.py - the data sets of priming's transfer table, each with lists of its own."""
import os
import re

from layouts.files import Data, Failure, field, first_few, first_of, list_images, read_lines, read_mat
from layouts.names import numbers_of, read_names, text_of

# Flowers102 was published without names for its 102 numbers; these are in common use (with CLIP's prompts, for one).
FLOWERS = """pink primrose|hard-leaved pocket orchid|canterbury bells|sweet pea|english marigold|tiger lily|moon orchid|bird of paradise
monkshood|globe thistle|snapdragon|colt's foot|king protea|spear thistle|yellow iris|globe-flower|purple coneflower|peruvian lily
balloon flower|giant white arum lily|fire lily|pincushion flower|fritillary|red ginger|grape hyacinth|corn poppy
prince of wales feathers|stemless gentian|artichoke|sweet william|carnation|garden phlox|love in the mist|mexican aster
alpine sea holly|ruby-lipped cattleya|cape flower|great masterwort|siam tulip|lenten rose|barbeton daisy|daffodil|sword lily
poinsettia|bolero deep blue|wallflower|marigold|buttercup|oxeye daisy|common dandelion|petunia|wild pansy|primula|sunflower
pelargonium|bishop of llandaff|gaura|geranium|orange dahlia|pink-yellow dahlia|cautleya spicata|japanese anemone
black-eyed susan|silverbush|californian poppy|osteospermum|spring crocus|bearded iris|windflower|tree poppy|gazania|azalea
water lily|rose|thorn apple|morning glory|passion flower|lotus|toad lily|anthurium|frangipani|clematis|hibiscus|columbine
desert-rose|tree mallow|magnolia|cyclamen|watercress|canna lily|hippeastrum|bee balm|ball moss|foxglove|bougainvillea|camellia
mallow|mexican petunia|bromelia|blanket flower|trumpet creeper|blackberry lily""".replace("\n", "|").split("|")


def finish(options, names, listed, on_disk, listed_in, names_from):
    """listed: {split: [(path, label)]} of all splits whose lists are there; "trainval" may be two of them."""
    mine = listed[options.split]
    parts = {"trainval": ("train", "val"), "train": ("trainval",), "val": ("trainval",)}.get(options.split, ())
    elsewhere = {path for split, rows in listed.items() if split != options.split and split not in parts for path, _ in rows}
    if options.names:
        names, names_from = read_names(options.names, len(names)), options.names
    return Data(names, mine, on_disk, listed_in, names_from, elsewhere)


def number_of(value, count, where):
    """A class's number, counted from 1, as a label."""
    if not 1 <= int(value) <= count:
        raise Failure(65, f"{where}: class {value}; wanted 1 to {count}")
    return int(value) - 1


def flowers102(options):
    folder = options.folder
    paths = [first_of([folder], [name], "label file of Flowers102") for name in ("imagelabels.mat", "setid.mat")]
    labels = field(read_mat(paths[0]), "labels", paths[0])
    setid = read_mat(paths[1])
    ids = {split: field(setid, key, paths[1]) for split, key in (("train", "trnid"), ("val", "valid"), ("test", "tstid"))}
    listed = {}
    for split, numbers in ids.items():
        wrong = [int(i) for i in numbers if not 1 <= i <= len(labels)]
        if wrong:
            raise Failure(65, f"{paths[1]}: image {wrong[0]}, but {paths[0]} has {len(labels)} labels")
        listed[split] = [(f"jpg/image_{i:05d}.jpg", number_of(labels[i - 1], len(FLOWERS), f"{paths[0]}: image {i}")) for i in numbers]
    listed["trainval"] = sorted(listed["train"] + listed["val"])
    return finish(options, FLOWERS, listed, set(list_images(folder, "jpg")[0]), paths[1], "names in common use")


def pets_rows(path, names):
    """"Abyssinian_100 1 1 1": image, class, species, breed. The names of the classes are those of the images."""
    rows = []
    for number, line in enumerate(read_lines(path), 1):
        if line.startswith("#"):
            continue
        word = line.split()
        if len(word) != 4 or not word[1].isdecimal() or "_" not in word[0]:
            raise Failure(65, f"{path}: line {number}: wanted an image and three numbers, found {line[:80]}")
        name = text_of(word[0].rpartition("_")[0])
        if names.setdefault(int(word[1]), name) != name:
            raise Failure(65, f"{path}: line {number}: class {word[1]} is {name}, and was {names[int(word[1])]}")
        rows.append((f"images/{word[0]}.jpg", int(word[1]) - 1))
    return rows


def oxford_pets(options):
    lists = os.path.join(options.folder, "annotations")
    names, listed = {}, {}
    for split in ("list", "trainval", "test"):
        if split == options.split or os.path.isfile(f"{lists}/{split}.txt"):
            listed[split] = pets_rows(f"{lists}/{split}.txt", names)
    gaps = sorted(set(range(1, max(names) + 1)) - names.keys())
    if gaps or min(names) != 1:
        raise Failure(65, f"{lists}: classes are numbered 1 to {max(names)}, but no image is of class {first_few(gaps or [1])}")
    text = list(numbers_of([names[n] for n in sorted(names)], lists))
    listed.pop("list", None)  # all images of both
    return finish(options, text, listed, set(list_images(options.folder, "images")[0]), f"{lists}/{options.split}.txt",
                  "names of images")


def cars_rows(path, split, count):
    annotations = field(read_mat(path), "annotations", path)
    for key in ("fname", "class"):
        if key not in (annotations.dtype.names or ()):
            raise Failure(65, f'{path}: its annotations have no "{key}"; of the test set, cars_test_annos_withlabels.mat has')
    return [(f"cars_{split}/{os.path.basename(str(a['fname']))}", number_of(a["class"], count, f"{path}: {a['fname']}"))
            for a in annotations]


def stanford_cars(options):
    near = [options.folder, os.path.join(options.folder, "devkit")]
    meta = first_of(near, ["cars_meta.mat"], "names of the classes")
    names = list(numbers_of([str(name) for name in field(read_mat(meta), "class_names", meta)], meta))
    file = {"train": "cars_train_annos.mat", "test": "cars_test_annos_withlabels.mat"}[options.split]
    path = first_of(near, [file], "list of images")
    rows = cars_rows(path, options.split, len(names))
    return finish(options, names, {options.split: rows}, set(list_images(options.folder, f"cars_{options.split}")[0]), path, meta)


def fgvc_aircraft(options):
    variants = first_of([options.folder, os.path.join(options.folder, "data")], ["variants.txt"], "names of the classes")
    data = os.path.dirname(variants)
    below = os.path.relpath(data, options.folder)
    images = "images" if below == "." else f"{below}/images"
    number = numbers_of(read_lines(variants), variants)
    listed = {}
    for split in ("train", "val", "trainval", "test"):
        path = f"{data}/images_variant_{split}.txt"
        if split != options.split and not os.path.isfile(path):
            continue
        listed[split] = []
        for line, text in enumerate(read_lines(path), 1):
            image, _, variant = text.strip().partition(" ")
            if variant.strip() not in number:
                raise Failure(65, f'{path}: line {line}: "{variant}" is no variant of {variants}')
            listed[split].append((f"{images}/{image}.jpg", number[variant.strip()]))
    return finish(options, [text_of(name) for name in number], listed, set(list_images(options.folder, images)[0]),
                  f"{data}/images_variant_{options.split}.txt", variants)


def images_below(root, folders):
    """All images of these folders of root; those that are not there have none."""
    found = set()
    for folder in folders:
        if os.path.isdir(os.path.join(root, folder)):
            found.update(list_images(root, folder)[0])
    return found


def food101(options):
    meta = os.path.join(options.folder, "meta")
    number = numbers_of(read_lines(f"{meta}/classes.txt"), f"{meta}/classes.txt")
    listed = {}
    for split in ("train", "test"):
        path = f"{meta}/{split}.txt"
        if split != options.split and not os.path.isfile(path):
            continue
        listed[split] = []
        for line, text in enumerate(read_lines(path), 1):
            name = text.strip().rpartition("/")[0]
            if name not in number:
                raise Failure(65, f'{path}: line {line}: "{text.strip()}" is of no class of {meta}/classes.txt')
            listed[split].append((f"images/{text.strip()}.jpg", number[name]))
    folders = list_images(options.folder, "images")[1]
    extra = [name for name in folders if name not in number]
    if extra:
        raise Failure(65, f"{options.folder}/images: {len(extra)} folders are no class of {meta}/classes.txt: {first_few(extra)}")
    return finish(options, [text_of(name) for name in number], listed, images_below(options.folder, [f"images/{f}" for f in folders]),
                  f"{meta}/{options.split}.txt", f"{meta}/classes.txt")


def sun397(options):
    near = [options.folder, os.path.join(options.folder, "Partitions")]
    classes = first_of(near, ["ClassName.txt"], "names of the classes")
    number = numbers_of(read_lines(classes), classes)
    wrong = [name for name in number if not re.match(r"/[a-z]/[^/]", name)]
    if wrong:
        raise Failure(65, f"{classes}: wanted names such as /a/abbey, found {first_few(wrong)}")
    listed = {}
    for split, file in (("train", f"Training_{options.partition}.txt"), ("test", f"Testing_{options.partition}.txt")):
        if split != options.split and not any(os.path.isfile(os.path.join(f, file)) for f in near):
            continue
        path = first_of(near, [file], "list of images")
        rows = [line.strip() for line in read_lines(path)]
        bad = [row for row in rows if row.rpartition("/")[0] not in number]
        if bad:
            raise Failure(65, f"{path}: {len(bad)} images are of no class of {classes}: {first_few(bad)}")
        listed[split] = [(row[1:], number[row.rpartition("/")[0]]) for row in rows]
        if split == options.split:
            listed_in = path
    # a partition lists 100 images of each class, of many more: what is on the disk is no sign of anything
    there = images_below(options.folder, [name[1:] for name in number])
    mine = {path for path, _ in listed[options.split]}
    return finish(options, [text_of(name[3:].replace("/", " ")) for name in number], listed, there & mine, listed_in, classes)
