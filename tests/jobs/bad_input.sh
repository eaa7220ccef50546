#!/bin/bash
# What users get wrong, and what disks do: each case ends with its exit code and one clear sentence, and leaves finished
# work alone. The table of hostile files themselves is in tests/io; here it is about what a user of the programs sees.
# shellcheck source=tests/lib.sh
source "$(dirname "$0")/../lib.sh"
cd "$TMP"

must 2 npr-minilaion --embeddings --out=world --rows=6000 --dim=64 --classes=10 --rows-per-file=3000
must 1 npr-minilaion --embeddings --out=narrow --rows=3000 --dim=96 --classes=10 --rows-per-file=3000
must 2 npr-ingest --emb=world/img_emb --meta=world/metadata --out=index --part-rows=2048 --model=A
must 1 npr-ingest --emb=world/text/head.npy --meta=world/text/head.tsv --kind=head --out=head --model=A
must 1 npr-ingest --emb=world/text/head.npy --meta=world/text/head.tsv --kind=head --out=head-b --model=B
must 1 npr-ingest --emb=narrow/text/head.npy --meta=narrow/text/head.tsv --kind=head --out=head-narrow
must 1 npr-ingest --emb=world/test/test.npy --labels=world/test/test_labels.txt --kind=test --out=test --model=A
must 2 npr-search --index=index --head=head --k=10 --out=pool

# ---- the command line
expect 64 "unknown option --emd" 2 npr-ingest --emd=x --out=y
expect 64 "--out is given twice" 2 npr-ingest --out=x --out=y --emb=z
expect 64 "is needed" 2 npr-search --out=y
expect 64 "wanted one of exact|faiss|caption" 1 npr-search --index=index --out=y --head=head --mode=magic
expect 64 "wanted 1 to" 1 npr-search --index=index --out=y --head=head --k=0
expect 64 "wanted a whole number" 1 npr-search --index=index --out=y --head=head --k=many

# ---- inputs that are not there, or not what they should be
expect 66 "nowhere" 2 npr-ingest --emb=nowhere --out=y
expect 66 "nowhere" 3 npr-search --index=nowhere --head=head --out=y
head -c 200000 world/img_emb/img_emb_0000.npy >cut.npy
expect 65 "cut.npy" 2 npr-ingest --emb=cut.npy --out=y
head -n 2500 world/metadata/metadata_0000.tsv >short.tsv
expect 65 "short.tsv" 2 npr-ingest --emb=world/img_emb/img_emb_0000.npy --meta=short.tsv --out=y
grep -q 2499 "$TMP/err" && grep -q 3000 "$TMP/err" || fail "a mismatch of rows does not name both counts: $(cat "$TMP/err")"
expect 78 "64" 2 npr-search --index=index --head=head-narrow --out=y
expect 78 "model" 2 npr-search --index=index --head=head-b --out=y
expect 78 "model" 2 npr-solve --pool=pool --head=head-b --test=test --out=y
expect 78 "npr-index" 2 npr-search --index=index --head=head --mode=faiss --out=y
[ ! -e y/manifest.json ] || fail "a failed command left a complete set"
rm -rf y

# ---- class files
printf 'cat\n\n!!!\n' >bad.txt
expect 65 "bad.txt" 2 npr-search --index=index --head=head --names=bad.txt --mode=caption --out=y
rm -rf y
printf 'evil\033[31m "quoted"; DROP TABLE samples; --\njack-o'\''-lantern\n' >odd.txt
for _ in 3 4 5 6 7 8 9 10; do echo "name $_" >>odd.txt; done
must 2 npr-search --index=index --names=odd.txt --mode=caption --out=odd
head -c 10000000 /dev/zero | tr '\0' 'x' >long.txt
must 2 npr-search --index=index --names=long.txt --mode=caption --out=long

# ---- a damaged set
damaged() { rm -rf hurt && cp -r index hurt; }
damaged && rm hurt/part-00001.h5
expect 66 "part-00001.h5" 2 npr-search --index=hurt --head=head --out=y
rm -rf y
damaged && truncate -s -100 hurt/part-00002.h5
expect 65 "part-00002.h5" 3 npr-verify --set=hurt
damaged
size=$(stat -c %s hurt/part-00000.h5)
RANDOM=4
for _ in 1 2 3 4 5 6; do
    at=$(((RANDOM * 32768 + RANDOM) % size))
    damaged
    byte=$(od -An -tu1 -j "$at" -N 1 hurt/part-00000.h5)
    printf "\\x$(printf %02x $((byte ^ 4)))" | dd of=hurt/part-00000.h5 bs=1 seek="$at" conv=notrunc status=none
    expect 65 "part-00000.h5" 2 npr-verify --set=hurt
done
damaged && sed -i 's/"rows":/"Rows":/' hurt/manifest.json
expect 65 "manifest.json" 2 npr-verify --set=hurt
must 3 npr-verify --set=index

# ---- outputs
expect 73 "index" 2 npr-ingest --emb=world/test/test.npy --out=index # another command's set is never overwritten
must 2 npr-verify --set=index
touch plain
expect 73 "plain" 2 npr-ingest --emb=world/test/test.npy --out=plain
if [ "$(id -u)" = 0 ] && mkdir full && mount -t tmpfs -o size=700k tmpfs full 2>/dev/null; then
    expect 74 "full/index/part-" 2 npr-ingest --emb=world/img_emb --meta=world/metadata --out=full/index --part-rows=2048
    [ ! -e full/index/manifest.json ] || fail "a full disk gave a complete set"
    umount full
else
    echo "skipped: the full disk needs root and mount" >&2
fi

done_with bad_input
