"""jobs/datasets.py on small copies of every layout it knows: lists, labels, names; what is refused, with which words; what is said.
And what npr-extract makes of two of them. The .mat files are made by scipy; without it, those layouts are not tried."""
import contextlib
import io
import os
import shutil
import subprocess
import sys
import tempfile

ROOT = os.environ.get("NPR_SOURCE") or os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
BIN = os.environ.get("NPR_BIN")
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(ROOT, "jobs"))
import datasets  # noqa: E402
try:
    import numpy as np
    import scipy.io
except ImportError:
    scipy = None
WNIDS = ["n01440764", "n01443537", "n01484850", "n02012849", "n03126707", "n07753592"]
WORDS = ["tench, Tinca tinca", "goldfish, Carassius auratus", "great white shark, white shark", "crane", "crane", "banana"]
TMP = tempfile.mkdtemp(prefix="npr-test-")
counter = 0


def put(path, data=""):
    """A file below TMP; an image has something in it."""
    path = os.path.join(TMP, path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(data if isinstance(data, bytes) else data.encode())
    return path


def lines_of(path):
    with open(path, encoding="utf-8", newline="") as f:
        text = f.read()
    assert text.endswith("\n")
    return text[:-1].split("\n")


def run(layout, folder, *options, out=None):
    """Exit code, what was said, and DIR."""
    global counter
    counter += 1
    out = out or os.path.join(TMP, f"out{counter}")
    err, record = io.StringIO(), io.StringIO()
    sys.argv = ["datasets.py", layout, os.path.join(TMP, folder), "--out=" + out, *options]
    with contextlib.redirect_stdout(record), contextlib.redirect_stderr(err):
        code = datasets.main()
    return code, err.getvalue(), record.getvalue(), out


def made(layout, folder, images, names, *options, split="test", says=(), out=None):
    """It works: these images with these labels, these names; says these words, and nothing else but counts."""
    code, err, record, out = run(layout, folder, f"--split={split}", *options, out=out)
    assert code == 0, (layout, code, err)
    got = lines_of(os.path.join(out, split + ".tsv"))
    assert got == [f"{path}\t{label}" for path, label in images], (layout, got)
    assert lines_of(os.path.join(out, "classes.txt")) == names, (layout, lines_of(os.path.join(out, "classes.txt")))
    assert f"result.images={len(images)}\n" in record and f"result.classes={len(names)}\n" in record, record
    for words in says:
        assert words in err, (layout, words, err)
    other = [e for e in err.splitlines() if f" {layout} has " not in e and not any(words in e for words in says)]
    assert not other, (layout, other)
    return out


def refused(code, words, layout, folder, *options, split="test", out=None):
    got, err, _, out = run(layout, folder, f"--split={split}", *options, out=out)
    assert got == code and words in err, (layout, got, words, err)
    assert "warning" in err or err.count("\n") == 1, err
    assert not os.path.exists(os.path.join(out, split + ".tsv"))


def image_folder():
    for path in ("train/a_b/1.jpg", "train/a_b/2.JPEG", "train/c'd/1.jpg", "train/e/1.png", "test/e/7.jpg", "test/a_b/x.jpg", "test/a_b/notes.txt",
                 "test/a_b/.hidden.jpg"):
        put("if/" + path, "x")
    made("image-folder", "if", [("test/a_b/x.jpg", 0), ("test/e/7.jpg", 2)], ["a b", "c'd", "e"], says=["1 of 3 classes have no image here: c'd"])
    made("image-folder", "if/test", [("a_b/x.jpg", 0), ("e/7.jpg", 1)], ["a b", "e"])
    names = put("if.txt", b"\xef\xbb\xbfe\tletter e\r\nc'd\r\na b\r\n\r\n")
    made("image-folder", "if", [("test/e/7.jpg", 0), ("test/a_b/x.jpg", 2)], ["e\tletter e", "c'd", "a b"], "--names=" + names,
         says=["1 of 3 classes have no image here: c'd"])
    refused(65, "1 folders are no class of", "image-folder", "if", "--names=" + put("two.txt", "e\na b\n"))
    refused(65, 'the class "e" is named twice, in lines 1 and 3', "image-folder", "if", "--names=" + put("twice.txt", "e\na b\ne\nc'd\n"))
    refused(65, "line 2 is empty", "image-folder", "if", "--names=" + put("gap.txt", "e\n\na b\nc'd\n"))
    refused(65, "byte 1 is not UTF-8", "image-folder", "if", "--names=" + put("latin.txt", b"e\xe9\n"))
    refused(65, "class 0 is in quotes", "image-folder", "if/test", "--names=" + put("quoted.txt", '"e"\na b\ne\n'))
    for number in (0, 1, 2, 10, 11):
        put(f"numbers/{number}/a.jpg", "x")
    refused(66, "its folders are numbers", "image-folder", "numbers")
    twelve = put("twelve.txt", "".join(f"name {i}\n" for i in range(12)))
    made("image-folder", "numbers", [(f"{n}/a.jpg", n) for n in (0, 1, 2, 10, 11)], [f"name {i}" for i in range(12)], "--names=" + twelve,
         says=["7 of 12 classes have no image here: name 3, name 4, name 5, name 6, name 7, ..."])
    put("deep/a/b/c.jpg", "x")
    refused(65, 'has a folder "b" in it', "image-folder", "deep")
    put("beside/a/c.jpg", "x"), put("beside/d.jpg", "x")
    refused(65, "has images beside folders (d.jpg)", "image-folder", "beside")
    put("both/test/a/c.jpg", "x"), put("both/zebra/c.jpg", "x")
    refused(65, 'has "test" beside "zebra": is it a split or a class?', "image-folder", "both")
    put("same/a b/c.jpg", "x"), put("same/a_b/c.jpg", "x")
    refused(65, 'the class "a b" is named twice', "image-folder", "same")
    put("tab/a/b\tc.jpg", "x")
    refused(65, "a name with a tab or a line break cannot be listed", "image-folder", "tab")
    refused(66, "no such folder", "image-folder", "nowhere")
    refused(64, "unknown layout imagefolder", "imagefolder", "if")
    out = made("image-folder", "if/test", [("a_b/x.jpg", 0), ("e/7.jpg", 1)], ["a b", "e"])
    made("image-folder", "if/test", [("a_b/x.jpg", 0), ("e/7.jpg", 1)], ["a b", "e"], out=out)
    code, err, _, _ = run("image-folder", "if/train", "--split=train", out=out)
    assert code == 73 and "classes.txt: is there already, and is another one" in err, err


def imagenet():
    mapping = put("in/LOC_synset_mapping.txt", "".join(f"{w} {t}\r\n" for w, t in zip(WNIDS, WORDS)))
    names = [t.split(",")[0] for t in WORDS]
    crane = 'classes 3 and 4 are both called "crane"'
    order = [5, 0, 3, 3, 1, 2]
    flat = [f"ILSVRC2012_val_{i + 1:08d}" for i in range(6)]
    for name in flat:
        put(f"in/val/{name}.JPEG", "x")
    for i, w in enumerate(WNIDS):
        put(f"in/train/{w}/{w}_1.JPEG", "x")
    wanted = [(f"val/{name}.JPEG", c) for name, c in zip(flat, order)]
    few = [crane, "1 of 6 classes have no image here: crane"]
    solution = put("lists/LOC_val_solution.csv", "ImageId,PredictionString\n" + "".join(
        f"{name},{WNIDS[c]} 85 1 499 272 {WNIDS[c]} 1 2 3 4 \n" for name, c in zip(flat, order)))
    for file in (solution, put("lists/val.txt", "".join(f"{name}.JPEG {c}\n" for name, c in zip(flat, order))),
                 put("lists/w.txt", "".join(f"val/{WNIDS[c]}/{name}.JPEG\t{WNIDS[c]}\r\n" for name, c in zip(flat, order))),
                 put("lists/t.txt", "".join(WNIDS[c] + "\n" for c in order))):
        out = made("imagenet", "in", wanted, names, "--labels=" + file, split="val", says=few)
        assert lines_of(out + "/wnids.txt") == WNIDS
    made("imagenet", "in", wanted, names, "--labels=" + file, says=few)  # test is val
    shutil.copy(solution, TMP + "/in")
    made("imagenet", "in", wanted, names, says=few)
    made("imagenet", "in/val", [(p[4:], c) for p, c in wanted], names, says=few)
    better = put("better.json", '["tench", "goldfish", "shark", "crane (bird)", "construction_crane", "banana"]')
    made("imagenet", "in", wanted, ["tench", "goldfish", "shark", "crane (bird)", "construction crane", "banana"], "--names=" + better,
         says=["1 of 6 classes have no image here: construction crane"])
    made("imagenet", "in", [(f"train/{w}/{w}_1.JPEG", i) for i, w in enumerate(WNIDS)], names, split="train", says=[crane])
    for text, words in (("1\n" * 6, "no meaning of the numbers: wanted meta.mat"), ("a.JPEG 1 2\n", "line 1: wanted an image and a label"),
                        ("a.JPEG 6\nb.JPEG 1\n", "numbers go from 1 to 6"), ("a.JPEG 7\nb.JPEG 0\n", "1 labels are no class: 7"),
                        ("a.JPEG n09999999\n", "1 labels are no class: n09999999"), ("a.JPEG cat\n", "labels are wnids or numbers, found cat"),
                        ("ImageId,PredictionString\nx,n01440764 1 n01443537 2\n", "line 2: wanted an image and one wnid"),
                        (f"{flat[0]}.JPEG 0\n{flat[0]}.JPEG 1\n", "named twice in")):
        refused(66 if "meta" in words else 65, words, "imagenet", "in", "--labels=" + put("lists/bad.txt", text), split="val")
    short = put("lists/short.txt", f"{flat[0]}.JPEG 0\n{flat[1]}.JPEG 1\n")
    made("imagenet", "in", [(wanted[0][0], 0), (wanted[1][0], 1)], names, "--labels=" + short, split="val",
         says=[crane, "4 images are in no list: val/ILSVRC2012_val_00000003.JPEG", "4 of 6 classes have no image"])
    os.unlink(TMP + "/in/val/" + flat[1] + ".JPEG")
    refused(66, "1 of 6 images that", "imagenet", "in", split="val")
    out = made("imagenet", "in", wanted[:1] + wanted[2:], names, "--max-missing=1", split="val", says=[crane, "2 of 6 classes have no image"])
    assert lines_of(out + "/val.missing.txt") == [f"val/{flat[1]}"]
    put(f"in/val/{flat[1]}.JPEG", "x")
    refused(64, "imagenet has no split valid (it has train, val)", "imagenet", "in", split="valid")
    put("flat/a1.JPEG", "x")
    few_wnids = put("lists/few.txt", "".join(f"{w}\n" for w in WNIDS[:4]))
    refused(66, "has 4 different labels; say which classes", "imagenet", "flat", "--labels=" + few_wnids, split="val")
    if scipy:
        devkit_ids(flat, order, wanted, names, few)
    shifts(mapping, names, crane)


def devkit_ids(flat, order, wanted, names, few):
    """The development kit numbers the synsets in an order of its own, and has inner nodes of WordNet too."""
    ids = [3, 6, 1, 2, 5, 4]
    rows = [(ids[i], WNIDS[i], WORDS[i], 0) for i in (2, 0, 5, 4, 1, 3)] + [(7, "n00001740", "entity", 6)]
    kind = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("num_children", "O")]
    os.makedirs(TMP + "/devkit", exist_ok=True)
    scipy.io.savemat(TMP + "/devkit/meta.mat", {"synsets": np.array(rows, dtype=kind).reshape(-1, 1)})
    truth = put("devkit/ILSVRC2012_validation_ground_truth.txt", "".join(f"{ids[c]}\n" for c in order))
    made("imagenet", "in", wanted, names, "--labels=" + truth, split="val", says=few)
    shutil.copytree(TMP + "/in/val", TMP + "/alone/val")
    made("imagenet", "alone", wanted, names, "--labels=" + truth, split="val", says=few)  # names from meta.mat
    zero = put("devkit/zero.txt", "0\n" * 6)
    refused(65, "1 labels are no class: 0", "imagenet", "in", "--labels=" + zero, split="val")
    put("damaged/meta.mat", b"MATLAB 5.0 MAT-file" + bytes(200))
    refused(65, "damaged/meta.mat: ", "imagenet", "in", "--labels=" + put("damaged/t.txt", "1\n" * 6), split="val")
    scipy.io.savemat(TMP + "/damaged/meta.mat", {"other": 1})
    refused(65, 'has no "synsets"; it has other', "imagenet", "in", "--labels=" + TMP + "/damaged/t.txt", split="val")


def shifts(mapping, names, crane):
    for n in (0, 2, 4, 10, 11):
        put(f"v2/{n}/a.jpeg", "x")
    twelve = put("v2.txt", "".join(f"class {i}\n" for i in range(12)))
    made("imagenet-v2", "v2", [(f"{n}/a.jpeg", n) for n in (0, 2, 4, 10, 11)], [f"class {i}" for i in range(12)], "--names=" + twelve,
         says=["7 of 12 classes have no image here"])
    refused(65, "wanted folders 0 to 5, as", "imagenet-v2", "v2", "--names=" + mapping, "--wnids=" + mapping)
    refused(66, "its folders are numbers", "imagenet-v2", "v2")
    put("v2pad/01/a.jpeg", "x")
    refused(65, "found 01", "imagenet-v2", "v2pad", "--names=" + twelve)
    for w in (WNIDS[5], WNIDS[2]):
        put(f"r/{w}/art_0.jpg", "x")
    put("r/README.txt", "n01484850 great_white_shark")
    wanted = [(f"{WNIDS[2]}/art_0.jpg", 2), (f"{WNIDS[5]}/art_0.jpg", 5)]
    for layout in ("imagenet-r", "imagenet-a"):
        for wnids in (mapping, TMP + "/in/train"):
            out = made(layout, "r", wanted, names, "--wnids=" + wnids, "--names=" + mapping, says=[crane])
            assert lines_of(out + "/subset.txt") == ["2", "5"] and lines_of(out + "/wnids.txt") == WNIDS
    keyed = put("keyed.json", '{"n07753592": "banana", "n03126707": "x", "n02012849": "y", "n01484850": "z", "n01443537": "g", "n01440764": "t"}')
    made("imagenet-r", "r", wanted, ["t", "g", "z", "y", "x", "banana"], "--wnids=" + mapping, "--names=" + keyed)
    index = put("index.json", '{"0": ["n01440764", "a"], "1": ["n01443537", "b"], "2": ["n01484850", "c"], "3": ["n03126707", "d"]}')
    refused(65, "class 3 is n03126707 there; wanted n02012849", "imagenet-r", "r", "--wnids=" + mapping, "--names=" + index)
    refused(65, "names 12 classes, there are 6", "imagenet-r", "r", "--wnids=" + mapping, "--names=" + twelve)
    refused(66, "has 2 of ImageNet's classes: say which there are with --wnids", "imagenet-r", "r", "--names=" + mapping)
    refused(66, "its classes are wnids", "imagenet-r", "r", "--wnids=" + TMP + "/in/train")
    refused(65, "1 folders are not among the 2 wnids: n07753592", "imagenet-a", "r", "--names=" + mapping,
            "--wnids=" + put("w2.txt", f"{WNIDS[0]}\n{WNIDS[2]}\n"))
    refused(65, "n01440764: named twice", "imagenet-a", "r", "--wnids=" + put("w3.txt", f"{WNIDS[0]}\n{WNIDS[0]}\n"))
    refused(65, "wanted wnids such as n01440764, found tench", "imagenet-a", "r", "--wnids=" + put("w4.txt", "tench\n"))
    for w in WNIDS:
        put(f"sketch/{w}/sketch_0.JPEG", "x")
    made("imagenet-sketch", "sketch", [(f"{w}/sketch_0.JPEG", i) for i, w in enumerate(WNIDS)], names, "--names=" + mapping,
         says=[crane, "6 classes; imagenet-sketch has 1000", "6 images; imagenet-sketch has 50889 (Wang et al."])


def pets():
    rows = [("Abyssinian_1", 1), ("american_bulldog_100", 2), ("Abyssinian_2", 1), ("american_bulldog_3", 2)]
    for name, _ in rows + [("Bengal_9", 3)]:
        put(f"pets/images/{name}.jpg", "x")
    put("pets/annotations/list.txt", "#Image CLASS-ID SPECIES BREED ID\n#ID: 1:37 Class ids\n" + "".join(f"{n} {c} 1 1\n" for n, c in rows))
    put("pets/annotations/trainval.txt", "".join(f"{n} {c} 1 1\r\n" for n, c in rows[:2]))
    test = put("pets/annotations/test.txt", "".join(f"{n} {c} 1 1\n" for n, c in rows[2:]))
    wanted = [("images/Abyssinian_2.jpg", 0), ("images/american_bulldog_3.jpg", 1)]
    extra = "1 images are in no list: images/Bengal_9.jpg"
    made("oxford-pets", "pets", wanted, ["Abyssinian", "american bulldog"], says=[extra, "2 images; oxford-pets has 3669"])
    refused(64, "oxford-pets has no split train (it has trainval, test)", "oxford-pets", "pets", split="train")
    put("pets/annotations/trainval.txt", "".join(f"{n} {c} 1 1\n" for n, c in rows[:3]))
    made("oxford-pets", "pets", wanted, ["Abyssinian", "american bulldog"], says=[extra, "1 images are in another split too: images/Abyssinian_2.jpg"])
    put("pets/annotations/test.txt", "Abyssinian_2 2 1 1\n")
    refused(65, "class 2 is Abyssinian, and was american bulldog", "oxford-pets", "pets")
    put("pets/annotations/test.txt", "Abyssinian_2 1\n")
    refused(65, "line 1: wanted an image and three numbers", "oxford-pets", "pets")
    os.unlink(test)
    refused(66, "annotations/test.txt: No such file", "oxford-pets", "pets")
    put("pets/annotations/test.txt", "Bengal_9 9 1 1\n")
    refused(65, "but no image is of class 3, 4, 5, 6, 7, ...", "oxford-pets", "pets")


def aircraft():
    for i in range(5):
        put(f"air/data/images/{i:07d}.jpg", "x")
    put("air/data/variants.txt", "707-320\nF/A-18\nModel B200\n")
    put("air/data/images_variant_train.txt", "0000000 707-320\n0000001 F/A-18\n")
    put("air/data/images_variant_val.txt", "0000002 F/A-18\n")
    put("air/data/images_variant_trainval.txt", "0000000 707-320\n0000001 F/A-18\n0000002 F/A-18\n")
    put("air/data/images_variant_test.txt", "0000004 Model B200\n0000003 F/A-18\n")
    names = ["707-320", "F/A-18", "Model B200"]
    none = "1 of 3 classes have no image here: 707-320"
    made("fgvc-aircraft", "air", [("data/images/0000004.jpg", 2), ("data/images/0000003.jpg", 1)], names, says=[none])
    made("fgvc-aircraft", "air/data", [("images/0000004.jpg", 2), ("images/0000003.jpg", 1)], names, says=[none])
    made("fgvc-aircraft", "air/data", [("images/0000000.jpg", 0), ("images/0000001.jpg", 1), ("images/0000002.jpg", 1)], names,
         split="trainval", says=["1 of 3 classes have no image here: Model B200"])
    put("air/data/images_variant_test.txt", "0000004 Model B2000\n")
    refused(65, 'line 1: "Model B2000" is no variant of', "fgvc-aircraft", "air")
    put("air/data/variants.txt", "707-320\nF/A-18\n707-320\n")
    refused(65, 'the class "707-320" is named twice, in lines 1 and 3', "fgvc-aircraft", "air")


def food():
    for path in ("apple_pie/1", "apple_pie/2", "baby_back_ribs/3", "baby_back_ribs/4"):
        put(f"food/images/{path}.jpg", "x")
    put("food/meta/classes.txt", "apple_pie\nbaby_back_ribs\n")
    put("food/meta/train.txt", "apple_pie/1\nbaby_back_ribs/3\n")
    put("food/meta/test.txt", "baby_back_ribs/4\napple_pie/2\n")
    names = ["apple pie", "baby back ribs"]
    made("food101", "food", [("images/baby_back_ribs/4.jpg", 1), ("images/apple_pie/2.jpg", 0)], names)
    made("food101", "food", [("images/apple_pie/1.jpg", 0), ("images/baby_back_ribs/3.jpg", 1)], names, split="train")
    put("food/images/waffles/5.jpg", "x")
    refused(65, "1 folders are no class of", "food101", "food")
    shutil.rmtree(TMP + "/food/images/waffles")
    put("food/meta/test.txt", "baby_back_ribs/4\nwaffles/2\n")
    refused(65, 'line 2: "waffles/2" is of no class of', "food101", "food")
    put("food/meta/test.txt", "baby_back_ribs/4\nbaby_back_ribs/9\n")
    refused(66, "images/baby_back_ribs/9.jpg; --max-missing=1 leaves them out", "food101", "food")


def sun():
    for path in ("a/abbey/sun_a", "a/apartment_building/outdoor/sun_b", "a/apartment_building/outdoor/sun_c", "a/abbey/sun_d"):
        put(f"sun/{path}.jpg", "x")
    put("sun/ClassName.txt", "/a/abbey\r\n/a/apartment_building/outdoor\r\n")
    put("sun/Partitions/Training_01.txt", "/a/abbey/sun_a.jpg\r\n/a/apartment_building/outdoor/sun_b.jpg\r\n")
    put("sun/Partitions/Testing_01.txt", "/a/apartment_building/outdoor/sun_c.jpg\n")
    names = ["abbey", "apartment building outdoor"]
    made("sun397", "sun", [("a/apartment_building/outdoor/sun_c.jpg", 1)], names, says=["1 of 2 classes have no image here: abbey"])
    made("sun397", "sun", [("a/abbey/sun_a.jpg", 0), ("a/apartment_building/outdoor/sun_b.jpg", 1)], names, split="train")
    refused(66, "wanted Testing_02.txt in", "sun397", "sun", "--partition=02")
    put("sun/Partitions/Testing_01.txt", "/a/apartment_building/sun_c.jpg\n")
    refused(65, "1 images are of no class of", "sun397", "sun")


def flowers():
    for i in range(1, 7):
        put(f"flowers/jpg/image_{i:05d}.jpg", "x")
    scipy.io.savemat(TMP + "/flowers/imagelabels.mat", {"labels": np.array([[77, 1, 102, 12, 77, 1]], np.uint8)})
    scipy.io.savemat(TMP + "/flowers/setid.mat", {"trnid": np.array([[5, 2]], np.uint16), "valid": np.array([[3]], np.uint16),
                                                  "tstid": np.array([[4, 1, 6]], np.uint16)})
    _, err, _, out = run("flowers102", "flowers", "--split=test")
    names = lines_of(out + "/classes.txt")
    assert len(names) == 102 and len(set(names)) == 102, err
    assert [names[i] for i in (0, 11, 76, 101)] == ["pink primrose", "colt's foot", "passion flower", "blackberry lily"]
    assert lines_of(out + "/test.tsv") == ["jpg/image_00004.jpg\t11", "jpg/image_00001.jpg\t76", "jpg/image_00006.jpg\t0"]
    _, err, _, out = run("flowers102", "flowers", "--split=trainval")
    assert lines_of(out + "/trainval.tsv") == ["jpg/image_00002.jpg\t0", "jpg/image_00003.jpg\t101", "jpg/image_00005.jpg\t76"]
    assert "in another split" not in err and "3 images; flowers102 has 2040" in err, err
    scipy.io.savemat(TMP + "/flowers/setid.mat", {"trnid": [[1]], "valid": [[2]], "tstid": [[9]]})
    refused(65, "image 9, but", "flowers102", "flowers")
    scipy.io.savemat(TMP + "/flowers/setid.mat", {"trnid": [[1]], "valid": [[2]]})
    refused(65, 'has no "tstid"; it has trnid, valid', "flowers102", "flowers")
    os.unlink(TMP + "/flowers/setid.mat")
    refused(66, "no label file of Flowers102: wanted setid.mat", "flowers102", "flowers")


def cars():
    names = ["AM General Hummer SUV 2000", "Ram C/V Cargo Van Minivan 2012", "smart fortwo Convertible 2012"]
    for split, n in (("train", 2), ("test", 3)):
        for i in range(1, n + 1):
            put(f"cars/cars_{split}/{i:05d}.jpg", "x")
    os.makedirs(TMP + "/cars/devkit")
    scipy.io.savemat(TMP + "/cars/devkit/cars_meta.mat", {"class_names": np.array([names], dtype=object)})
    kind = [("bbox_x1", "O"), ("class", "O"), ("fname", "O")]

    def annotations(path, rows):
        scipy.io.savemat(TMP + "/cars/" + path, {"annotations": np.array([(1, c, f) for f, c in rows], dtype=kind).reshape(1, -1)})
    annotations("devkit/cars_train_annos.mat", [("00001.jpg", 3), ("00002.jpg", 1)])
    annotations("cars_test_annos_withlabels.mat", [("00001.jpg", 2), ("00002.jpg", 2), ("00003.jpg", 3)])
    made("stanford-cars", "cars", [("cars_test/00001.jpg", 1), ("cars_test/00002.jpg", 1), ("cars_test/00003.jpg", 2)], names,
         says=["1 of 3 classes have no image here: AM General"])
    made("stanford-cars", "cars", [("cars_train/00001.jpg", 2), ("cars_train/00002.jpg", 0)], names, split="train",
         says=["1 of 3 classes have no image here: Ram C/V"])
    annotations("cars_test_annos_withlabels.mat", [("00001.jpg", 2), ("00002.jpg", 4), ("00003.jpg", 3)])
    refused(65, "00002.jpg: class 4; wanted 1 to 3", "stanford-cars", "cars")
    annotations("cars_test_annos_withlabels.mat", [("00001.jpg", 2), ("00009.jpg", 1)])
    refused(66, "1 of 2 images that", "stanford-cars", "cars")


def without_scipy():
    """Whatever is installed: scipy cannot be imported."""
    put("block/scipy/__init__.py", "raise ImportError('none')")
    put("mat/setid.mat", "x"), put("mat/imagelabels.mat", "x")
    environment = dict(os.environ, PYTHONPATH=TMP + "/block")
    p = subprocess.run([sys.executable, "-B", os.path.join(ROOT, "jobs/datasets.py"), "flowers102", TMP + "/mat", "--split=test", "--out=" + TMP + "/m"],
                       capture_output=True, text=True, env=environment)
    assert p.returncode == 78 and "needs scipy, which is missing" in p.stderr and p.stderr.count("\n") == 1, p.stderr


def extracted():
    """The labels that npr-extract gives to the images: of a list, and of folders that are numbers."""
    try:
        import h5py
        from PIL import Image
    except ImportError:
        print("npr-extract is not tried: needs h5py and Pillow")
        return
    tiny = [f"--model={ROOT}/tests/data/tiny_clip.safetensors", f"--config={ROOT}/tests/data/tiny_clip_gelu.json", "--threads=1"]
    for top in ("air", "v2", "r"):
        for folder, _, files in os.walk(os.path.join(TMP, top)):
            for i, name in enumerate(f for f in files if f.endswith(("jpg", "jpeg"))):
                Image.new("RGB", (40, 40), (37 * i % 256, len(folder) * 11 % 256, 90)).save(os.path.join(folder, name), "JPEG")
    put("air/data/variants.txt", "707-320\nF/A-18\nModel B200\n")
    put("air/data/images_variant_test.txt", "0000004 Model B200\n0000003 F/A-18\n")
    mapping = TMP + "/in/LOC_synset_mapping.txt"
    for layout, folder, label, options in (("fgvc-aircraft", "air", [2, 1], []), ("imagenet-r", "r", [2, 5], ["--wnids=" + mapping, "--names=" + mapping]),
                                           ("imagenet-v2", "v2", [0, 2, 4, 10, 11], ["--names=" + TMP + "/v2.txt"]), (None, "v2", [0, 10, 11, 2, 4], [])):
        out = os.path.join(TMP, f"set-{layout}")
        images = [f"--images={TMP}/{folder}"]
        if layout:
            code, err, _, lists = run(layout, folder, "--split=test", *options)
            assert code == 0, err
            images = [f"--images=@{lists}/test.tsv", f"--root={TMP}/{folder}"]
        p = subprocess.run(["mpirun", "-n", "2", f"{BIN}/npr-extract", *images, "--kind=test", "--out=" + out, *tiny], capture_output=True, text=True)
        assert p.returncode == 0, p.stderr
        with h5py.File(out + "/part-00000.h5") as f:
            assert f["label"][:].tolist() == label, (layout, f["label"][:])
        assert not os.path.exists(out + "/classes.txt")


try:
    image_folder(), imagenet(), pets(), aircraft(), food(), sun(), without_scipy()
    if scipy:
        flowers(), cars()
    else:
        print("layouts with .mat files are not tried: scipy is missing here (apt-get install python3-scipy)")
    if BIN:
        extracted()
finally:
    shutil.rmtree(TMP)
print("datasets: passed")
