#!/bin/bash
# npr-minilaion end to end, painted: the same bytes for any number of ranks, resumed after kills; Pillow and tarfile read
# what it promises.
# shellcheck source=tests/lib.sh
source "$(dirname "$0")/../lib.sh"
world=(--rows=1100 --rows-per-file=150 --classes=26 --tests=3 --val=2 --shots=4 --seed=5)

sizes=(1 2 3 5)
((!SANITIZED)) || sizes=(1 2)
for n in "${sizes[@]}"; do
    must "$n" npr-minilaion --out="$TMP/w$n" "${world[@]}"
    facts "$TMP/out" >"$TMP/facts$n"
    same "$TMP/w1" "$TMP/w$n" "$n ranks"
    same "$TMP/facts1" "$TMP/facts$n" "record of $n ranks"
done

# again: nothing is drawn
find "$TMP/w1" -type f -not -name '*.txt' -not -name '*.json' -printf '%f %T@\n' | sort >"$TMP/before"
must 3 npr-minilaion --out="$TMP/w1" "${world[@]}"
find "$TMP/w1" -type f -not -name '*.txt' -not -name '*.json' -printf '%f %T@\n' | sort >"$TMP/after"
same "$TMP/before" "$TMP/after" "a complete world is left alone"

# a run that lost files, or was killed or stopped on the way, is finished by the next
lost=$(find "$TMP/w2/coined/sketch" -mindepth 1 -maxdepth 1 | head -1)
rm -r "$TMP/w2/pictures/00003.tar" "$TMP/w2/coined/prompts.json" "$lost"
must 2 npr-minilaion --out="$TMP/w2" "${world[@]}"
same "$TMP/w1" "$TMP/w2" "files made again"
for point in file.rename@1:2 painted.rename@1:20; do
    NPR_FAULT=$point=kill ranks 2 npr-minilaion --out="$TMP/killed" "${world[@]}" && fail "a killed run ended with 0"
    [ "$(find "$TMP/killed" -name '0002.jpg' -path '*/smear/[a-z]*' | wc -l)" -lt 26 ] || fail "killed too late at $point"
    must 3 npr-minilaion --out="$TMP/killed" "${world[@]}"
    same "$TMP/w1" "$TMP/killed" "after a kill at $point"
    rm -r "$TMP/killed"
done
NPR_FAULT=file.rename@0:4=stop expect 75 "run the same command again" 2 npr-minilaion --out="$TMP/stopped" "${world[@]}"
must 1 npr-minilaion --out="$TMP/stopped" "${world[@]}"
same "$TMP/w1" "$TMP/stopped" "after a request to stop"

# a smaller world is the beginning of a larger one
must 2 npr-minilaion --out="$TMP/small" "${world[@]/--rows=1100/--rows=400}"
same "$TMP/w1/pictures/00001.tar" "$TMP/small/pictures/00001.tar" "rows of a smaller world"

# what must be refused
expect 73 'wanted "seed=6", found "seed=5"' 2 npr-minilaion --out="$TMP/w1" "${world[@]/--seed=5/--seed=6}"
expect 64 "2000 classes" 2 npr-minilaion --out="$TMP/none" "${world[@]/--classes=26/--classes=2000}"
expect 64 "tars of 20000" 2 npr-minilaion --out="$TMP/none" "${world[@]/=150/=20000}"
NPR_FAULT=file.write@0 expect 74 "cannot write" 2 npr-minilaion --out="$TMP/full" "${world[@]}"
NPR_FAULT=painted.rename@1 expect 74 "cannot rename" 2 npr-minilaion --out="$TMP/full" "${world[@]}"

/usr/bin/python3 -c 'import numpy, PIL' 2>/dev/null || { echo "pictures: numpy and Pillow are missing" >&2 && exit 77; }
/usr/bin/python3 - "$TMP/w1" <<'PY' || fail "Pillow does not find what was promised"
import hashlib, io, json, pathlib, sys, tarfile
from PIL import Image
w = pathlib.Path(sys.argv[1])
seen, rows = set(), []
def look(data):
    image = Image.open(io.BytesIO(data))
    image.load()
    assert image.size == (48, 48) and image.mode == "RGB" and image.format == "JPEG"
    digest = hashlib.sha256(data).digest()
    assert digest not in seen, "a picture twice"
    seen.add(digest)
    return len(data)
tars = sorted((w / "pictures").glob("*.tar"))
assert [t.name for t in tars] == [f"{i:05d}.tar" for i in range(8)]
total = 0
for i, path in enumerate(tars):
    with tarfile.open(path) as t:
        members = {m.name: t.extractfile(m).read() for m in t}
    keys = sorted({n.split(".")[0] for n in members})
    assert keys == [f"{i:05d}{k:04d}" for k in range(150 if i < 7 else 50)] and len(members) == 3 * len(keys)
    for key in keys:
        facts, caption = json.loads(members[key + ".json"]), members[key + ".txt"].decode()
        assert facts["caption"] == caption and facts["key"] == key and facts["status"] == "success" and caption
        assert facts["width"] == facts["height"] == 48 and facts["url"].startswith("https://")
        total += look(members[key + ".jpg"])
        rows.append(facts)
assert [r["id"] for r in rows] == list(range(1100)) and len({r["url"] for r in rows}) == 1100
assert 900 < total / 1100 < 1500, total / 1100
assert len((w / "templates.txt").read_text().split("\n")) == 21
names = []
for family in ("phrases", "coined"):
    classes = (w / family / "classes.txt").read_text().split("\n")[:-1]
    names += classes
    assert len(classes) == 13 and list(json.loads((w / family / "prompts.json").read_text())) == classes
    assert all(len(set(p)) == 9 for p in json.loads((w / family / "prompts.json").read_text()).values())
    for set_, n in (("shots", 4), ("val", 2), ("test", 3), ("sketch", 3), ("dusk", 3), ("smear", 3)):
        folders = sorted(p.name for p in (w / family / set_).iterdir())
        assert folders == [c.replace(" ", "_") for c in classes], folders
        for f in folders:
            pictures = sorted((w / family / set_ / f).iterdir())
            assert [p.name for p in pictures] == [f"{i:04d}.jpg" for i in range(n)]
            for p in pictures:
                look(p.read_bytes())
assert (w / "classes.txt").read_text().split("\n")[:-1] == names
PY
done_with pictures
