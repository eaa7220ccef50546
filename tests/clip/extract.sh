#!/bin/bash
# npr-extract end to end on a tiny model: the same bytes for any number of ranks and threads, the features numpy
# computes, folders, lists, tars and sets alike, kills, every image accounted for, refusals.
source "$(dirname "$0")/../lib.sh"
/usr/bin/python3 -c 'import numpy, h5py, PIL' 2>/dev/null || { echo "skipped: needs numpy, h5py and Pillow" && exit 77; }
HERE=$NPR_SOURCE/tests
model=(--model="$HERE/data/tiny_clip.safetensors" --config="$HERE/data/tiny_clip_gelu.json")
cut=("${model[@]}" --part-rows=11)
cd "$TMP"

# ---- photos in four classes, the same as lists and tars; and some that are none
/usr/bin/python3 - "$HERE/clip" <<'PY'
import glob, io, json, os, random, sys, tarfile
import numpy as np
from PIL import Image
rng = random.Random(3)
gen = np.random.default_rng(3)
real = sorted(glob.glob(os.environ.get("NPR_TEST_DATA", ".") + "/images/imagenet-sample/*.JPEG"))
made, classes = [], ["a class", "b", "c-größe", "d'oh"]
for c in classes: os.makedirs("photos/" + c)
os.makedirs("photos/empty")
for i in range(60):
    w, h = rng.choice([(40, 50), (36, 36), (200, 90), (37, 300), (1, 9), (120, 121)])
    mode = rng.choice(["RGB", "RGB", "RGB", "L", "CMYK"])
    grid = gen.integers(0, 256, (4, 5, 4), dtype=np.uint8)
    im = Image.fromarray(grid[:, :, :3]).resize((w, h), Image.BICUBIC).convert(mode)
    b = io.BytesIO()
    im.save(b, "JPEG", quality=rng.choice([60, 95]), progressive=rng.random() < .3)
    made.append((rng.randrange(4), f"{i:03d}.jpg", b.getvalue()))
made += [(i % 4, "real-" + os.path.basename(f), open(f, "rb").read()) for i, f in enumerate(real[:8])]
made.sort(key=lambda m: (classes[m[0]].encode(), m[1].encode()))
rows = []
for c, name, data in made:
    open(f"photos/{classes[c]}/{name}", "wb").write(data)
    rows.append(f"photos/{classes[c]}/{name}")
open("photos/b/notes.txt", "w").write("not an image")
label = [c if c < 3 else 3 for c, _, _ in made]
open("list.txt", "w").write("".join(f"{r}\t{classes[c]}\n" for r, (c, _, _) in zip(rows, made)))
open("numbers.txt", "w").write("\n".join(f"{r}\t{c}\n" for r, c in zip(rows, label)))  # empty lines between
open("plain.txt", "w").write("\n".join(rows))
json.dump({"rows": rows, "label": label}, open("truth.json", "w"))
# tars as img2dataset writes them, in three formats; members that belong to nothing between them
os.makedirs("shards")
for t, form in enumerate((tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)):
    with tarfile.open(f"shards/{t:05d}.tar", "w", format=form) as f:
        def put(name, data, kind=tarfile.REGTYPE):
            m = tarfile.TarInfo(name)
            m.size, m.type = len(data) if kind == tarfile.REGTYPE else 0, kind
            m.linkname = "/etc/passwd" if kind == tarfile.SYMTYPE else ""
            f.addfile(m, io.BytesIO(data))
        put("../../evil.sh", b"touch /tmp/evil")
        for i in range(t * 23, min((t + 1) * 23, len(made))):
            key = f"00{t}/{i:09d}" if t < 2 else "/abs/" + "ключ" * 20 + f"{i:09d}"
            put(key + ".jpg", made[i][2])
            put(key + ".txt", f"a photo of {classes[made[i][0]]}, #{i}".encode())
            put(key + ".json", json.dumps({"url": f"http://x/{i}", "key": f"{i:09d}", "id": 10**12 + 7 * i, "width": i + 1,
                "height": 2, "original_width": 2 * i + 1, "similarity": i / 100, "exif": {"a": [1]}, "status": "success"}).encode())
            put(key + ".cls", str(made[i][0]).encode() + b"\n")
            if i % 5 == 0: put(key + ".link.jpg", b"", tarfile.SYMTYPE)
PY
N=$(wc -l <list.txt)

# ---- any number of ranks and threads
sizes=(1 2 3 5 7)
((!SANITIZED)) || sizes=(1 3)
for n in "${sizes[@]}"; do
    must "$n" npr-extract --images=photos "${cut[@]}" --threads=$((1 + n % 2)) --out="f$n"
    facts out >"facts$n"
    same f1 "f$n" "$n ranks"
    same facts1 "facts$n" "record of $n ranks"
done
must 3 npr-extract --images=photos "${cut[@]}" --threads=2 --out=f1
facts out >facts
same facts1 facts "record of a complete set"
must 2 npr-verify --set=f1
for line in "input=folder" "files=5" "seen=$N" "ok=$N" "classes=5" "precision=fp32" "skipped.truncated=0"; do
    grep -qx "result.$line" facts1 || fail "no result.$line: $(cat facts1)"
done
[ ! -e f1/skipped.tsv ] || fail "a list of nothing"
printf '%s\n' "a class" b "c-größe" "d'oh" empty | cmp -s - f1/classes.txt || fail "classes: $(cat f1/classes.txt)"
must 2 npr-extract --images=photos "${cut[@]}" --out=none --dry-run
[ ! -e none ] || fail "a dry run wrote something"
grep -qx "result.seen=$N" out && grep -q '^plan.memory_per_rank=' out && grep -q '^plan.ranks_with_work=' out || fail "dry run: $(cat out)"

# ---- lists, tars, a set: the same features
must 2 npr-extract --images=@list.txt "${cut[@]}" --out=list
must 3 npr-extract --images=@numbers.txt "${cut[@]}" --out=numbers
must 2 npr-extract --images=@plain.txt "${model[@]}" --out=plain --kind=test --model-name=mine
must 3 npr-extract --images='shards/*.tar' "${cut[@]}" --out=tars --id-field=id
facts out >facts
must 2 npr-extract --images=shards "${cut[@]}" --out=tars --id-field=id
facts out >facts2
same facts facts2 "the tars of a folder"
grep -qx "result.members_unused=$((3 + (N + 4) / 5))" facts || fail "members unused: $(grep unused facts)"
[ ! -e /tmp/evil ] && [ ! -e ../../evil.sh ] || fail "a member of a tar became a file"
must 2 npr-extract --images=tars --root=shards "${cut[@]}" --threads=2 --out=again
for set in list numbers tars again; do must 2 npr-verify --set=$set; done
/usr/bin/python3 - "$HERE" <<'PY' || fail "the features are not what they should be"
import glob, io, json, sys
sys.path.insert(0, sys.argv[1] + "/clip")
import h5py
import numpy as np
from PIL import Image
import lib_clip as clip
truth = json.load(open("truth.json"))
rows, label, n = truth["rows"], np.array(truth["label"]), len(truth["rows"])
class Set:
    def __init__(self, name):
        self.part = [h5py.File(f, "r") for f in sorted(glob.glob(name + "/part-*.h5"))]
    def __getitem__(self, column):
        return np.concatenate([p[column][:] for p in self.part])
    def text(self, column):
        out = []
        for p in self.part:
            b, o = bytes(p[column][:]), p[column + "_offset"][:]
            out += [b[o[i]:o[i + 1]].decode() for i in range(len(o) - 1)]
        return out
    def source(self):
        out = []
        for p in self.part:
            b, o = bytes(p["container"][:]), p["container_offset"][:]
            out += [(b[o[c]:o[c + 1]].decode(), int(at), int(size)) for c, at, size in p["source"][:]]
        return out
f, worst = Set("f1"), 1
t, config = clip.load(sys.argv[1] + "/data/tiny_clip.safetensors"), json.load(open(sys.argv[1] + "/data/tiny_clip_gelu.json"))
for path, emb in zip(rows, f["emb"].astype(np.float64)):
    want = clip.image_features(clip.pixels_of(Image.open(path), config["vision_cfg"]["image_size"]), t, config)
    worst = min(worst, want @ emb / np.linalg.norm(emb))
assert worst > 1 - 1e-6, worst
emb = f["emb"].view("<u2")
for name in ("list", "numbers", "plain", "tars", "again"):
    assert (Set(name)["emb"].view("<u2") == emb).all(), name
assert (f["label"] == label).all() and (Set("list")["label"] == label).all() and (Set("numbers")["label"] == label).all()
assert open("list/classes.txt").read().split("\n")[:-1] == ["a class", "b", "c-größe", "d'oh"]
assert [r[len("photos/"):] for r in rows] == [c for c, _, _ in f.source()] and (f["id"] == np.arange(n)).all()
assert [len(open(r, "rb").read()) for r in rows] == [s for _, _, s in f.source()] and rows == [c for c, _, _ in Set("list").source()]
for name in ("tars", "again"):
    s = Set(name)
    for path, (container, at, size) in zip(rows, s.source()):
        with open("shards/" + container, "rb") as file:
            file.seek(at)
            assert file.read(size) == open(path, "rb").read()
    assert (s["id"] == 10**12 + 7 * np.arange(n)).all() and (s["label"] == label).all()
    assert (s["width"] == 2 * np.arange(n) + 1).all() and (s["height"] == 2).all()
    assert (s["similarity"] == (np.arange(n) / 100).astype("f4")).all() and s.text("url") == [f"http://x/{i}" for i in range(n)]
    classes = ["a class", "b", "c-größe", "d'oh"]
    assert s.text("caption") == [f"a photo of {classes[c]}, #{i}" for i, c in enumerate(label)]
    assert s.text("tokens")[0].startswith(" a photo of ")
PY

# ---- killed or stopped on the way, then another number of ranks
killed() { # FAULT RANKS RANKS-AFTERWARDS
    ! spare_kill "$1" || return 0
    NPR_FAULT=$1 ranks "$2" npr-extract --images=photos "${cut[@]}" --out=killed && fail "$1: ended with 0"
    [ ! -e killed/manifest.json ] || fail "$1: a manifest too early"
    must "$3" npr-extract --images=photos "${cut[@]}" --threads=2 --out=killed
    same f1 killed "after $1 on $2 ranks, then $3"
    rm -rf killed
}
killed extract.batch@0:3=kill 1 3
killed extract.batch@1:2=kill 3 1
killed part.rename@0:1=fail 2 5
NPR_FAULT=extract.batch@0:3=stop expect 75 "run the same command again" 2 npr-extract --images=photos "${cut[@]}" --out=stopped
must 5 npr-extract --images=photos "${cut[@]}" --out=stopped
same f1 stopped "after a request to stop"

# ---- images that are none: left out, counted, listed
/usr/bin/python3 - <<'PY'
import io, os, shutil
from PIL import Image
shutil.copytree("photos", "worse")
b = io.BytesIO(); Image.effect_noise((200, 150), 80).save(b, "JPEG", quality=90); whole = b.getvalue()
def put(name, data): open("worse/b/" + name, "wb").write(data)
put("!cut.jpg", whole[:len(whole) // 2])
put("!empty.jpg", b"")
put("!text\n.jpg", b"this is no image at all, only words")
b = io.BytesIO(); Image.new("RGB", (9, 9)).save(b, "PNG"); put("!png.jpg", b.getvalue())
i = whole.index(b"\xff\xc0")
put("!bomb.jpg", whole[:i + 5] + b"\xfa\x00\xfa\x00" + whole[i + 9:])
os.symlink("/nowhere/x.jpg", "worse/b/!gone.jpg")
os.mkfifo("worse/b/!pipe.jpg")
PY
B=$(find "photos/a class" -name '*.jpg' -o -name '*.JPEG' | wc -l)
expect 65 "), more than --max-bad=0.01 allows" 2 npr-extract --images=worse "${cut[@]}" --out=over
for n in 1 3; do
    must "$n" npr-extract --images=worse "${cut[@]}" --max-bad=0.2 --threads=2 --out="w$n"
    facts out >"facts$n"
done
same w1 w3 "bad images on 3 ranks"
same facts1 facts3 "record of bad images"
for line in "seen=$((N + 7))" "ok=$N" skipped.unreadable=2 skipped.not_jpeg=3 skipped.truncated=1 skipped.too_large=1; do
    grep -qx "result.$line" facts1 || fail "no result.$line: $(grep result facts1)"
done
i=$B
for line in bomb:too_large cut:truncated empty:not_jpeg gone:unreadable pipe:unreadable png:not_jpeg 'text\x0a:not_jpeg'; do
    printf '%d\t%d\tb/!%s.jpg\t%s\n' $i $i "${line%:*}" "${line#*:}"
    i=$((i + 1))
done >want.tsv
cmp -s want.tsv w1/skipped.tsv || fail "skipped.tsv: $(diff want.tsv w1/skipped.tsv)"
NPR_FAULT=extract.batch@0:9=kill ranks 1 npr-extract --images=worse "${cut[@]}" --max-bad=0.2 --out=wk && fail "a killed run ended with 0"
must 2 npr-extract --images=worse "${cut[@]}" --max-bad=0.2 --out=wk
same w1 wk "bad images after a kill"
must 2 npr-extract --images=photos "${cut[@]}" --fast-decode --out=fast
grep -q '^result.decode=.*pixels differ' out || fail "--fast-decode says nothing"
OMPI_MCA_osc=^sm,rdma,pt2pt,ucx expect 78 "no one-sided communication for this network" 3 npr-extract --images=photos "${cut[@]}" --out=unreached
expect 65 "more than --max-bad" 2 npr-extract --images=photos "${cut[@]}" --max-pixels=5000 --out=small
grep -qF "too_large)" err || fail "--max-pixels: $(cat err)"

# ---- what must be refused
mkdir void mixed mixed/x deep deep/x deep/x/y && touch mixed/a.jpg deep/x/y/a.jpg
printf 'a.jpg\tx\nb.jpg\n' >uneven.txt
head -c 3000 shards/00001.tar >cut.tar
gzip -c shards/00000.tar >packed.tar
sed 's/"width": 48/"width": 64/' "$HERE/data/tiny_clip_gelu.json" >wide.json
refuse() { # CODE WORDS OPTIONS...
    local code=$1 words=$2
    shift 2
    rm -rf refused
    expect "$code" "$words" 2 npr-extract --out=refused "$@"
    [ ! -e refused/manifest.json ] || fail "a manifest in spite of: $words"
}
refuse 64 "either --images, for features, or --classes" "${cut[@]}"
refuse 64 "go with --classes" --images=photos --vocab=x "${cut[@]}"
refuse 64 "only the JSON members of tars" --images=photos --id-field=id "${cut[@]}"
refuse 64 "is no tar: images are given as" --images=truth.json "${cut[@]}"
refuse 64 "precision" --images=photos --precision=fp8 "${cut[@]}"
refuse 65 "mixed: has images beside folders" --images=mixed "${cut[@]}"
refuse 65 "deep/x: has a folder \"y\" in it" --images=deep "${cut[@]}"
refuse 65 "row 1 has no label, the first one has one" --images=@uneven.txt "${cut[@]}"
refuse 65 "cut.tar: " --images=cut.tar "${cut[@]}"
refuse 65 "packed.tar: compressed (gzip)" --images=packed.tar "${cut[@]}"
refuse 65 " metadata), more than" --images=shards --id-field=nothing "${cut[@]}"
refuse 65 "--root says where the files lie" --images=tars "${cut[@]}"
refuse 66 "no images, no class folders, no tars" --images=void "${cut[@]}"
refuse 66 "nowhere" --images=nowhere "${cut[@]}"
refuse 66 "nowhere.safetensors" --images=photos --model=nowhere.safetensors --config="$HERE/data/tiny_clip_gelu.json"
refuse 65 "tiny_clip.safetensors" --images=photos --model="$HERE/data/tiny_clip.safetensors" --config=wide.json
expect 73 "wanted" 2 npr-extract --images=photos --out=f1 "${cut[@]}" --model-name=other
touch "photos/b/zz.jpg"
expect 73 "images=folder" 2 npr-extract --images=photos --out=f1 "${cut[@]}"
rm photos/b/zz.jpg
NPR_FAULT=extract.batch@1 refuse 74 "injected fault at extract.batch" --images=photos "${cut[@]}"
NPR_FAULT=tar.read@1:2 refuse 74 "cannot read" --images=shards "${cut[@]}"
NPR_FAULT=weights.read@1:6 refuse 74 "tiny_clip.safetensors: cannot read at byte" --images=photos "${cut[@]}"
NPR_FAULT=alloc@1:80 refuse 70 "out of memory" --images=photos "${cut[@]}"
done_with extract
