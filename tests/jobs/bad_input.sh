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
# a flipped byte of the embeddings stops whoever reads them
spoil() { # SET PART CHUNK: one bit of a byte in this chunk of the column emb
    rm -rf hurt && cp -r "$1" hurt
    /usr/bin/python3 - "hurt/$2" "$3" <<'PY'
import sys, h5py
with h5py.File(sys.argv[1]) as f:
    at = f["emb"].id.get_chunk_info(int(sys.argv[2])).byte_offset + 777
with open(sys.argv[1], "r+b") as f:
    f.seek(at)
    byte = f.read(1)[0]
    f.seek(at)
    f.write(bytes([byte ^ 4]))
PY
}
spoil index part-00001.h5 1
expect 65 "part-00001.h5" 3 npr-search --index=hurt --head=head --out=y
expect 65 "part-00001.h5" 2 npr-index --set=hurt --factory=Flat
rm -rf y
spoil pool part-00000.h5 0
expect 65 "part-00000.h5" 2 npr-solve --pool=hurt --head=head --test=test --out=y
rm -rf y
damaged && sed -i 's/"rows":/"Rows":/' hurt/manifest.json
expect 65 "manifest.json" 2 npr-verify --set=hurt
must 3 npr-verify --set=index

# ---- outputs
expect 73 "index" 2 npr-ingest --emb=world/test/test.npy --out=index # another command's set is never overwritten
must 2 npr-verify --set=index
touch plain
expect 73 "plain" 2 npr-ingest --emb=world/test/test.npy --out=plain
cp -r index indexed
must 2 npr-index --set=indexed --factory=Flat
must 2 npr-solve --pool=pool --head=head --test=test --alpha=0.5 --out=primed
# full WORDS RESULT STAGE...: on a disk that is too small the stage ends with 74, names the file, and calls nothing complete;
# on one that has grown the same command, on other ranks, gives the bytes of RESULT
full() {
    local words=$1 result=$2 size=$3
    shift 3
    mount -t tmpfs -o size="$size" tmpfs full || fail "no tmpfs of $size"
    [ "$1" != npr-index ] || cp -r index full/out
    expect 74 "$words" 2 "$@"
    [ "$1" = npr-index ] || [ ! -e full/out/manifest.json ] || fail "a full disk gave a complete set: $*"
    mount -o remount,size=64m full
    must 3 "$@"
    same "$result" full/out "$1 on a disk that was full"
    umount full
}
mkdir full
if [ "$(id -u)" = 0 ] && mount -t tmpfs tmpfs full 2>/dev/null; then
    umount full
    trap 'umount -q full || true; rm -rf "$TMP"' EXIT
    full "full/out/part-" index 700k npr-ingest --emb=world/img_emb --meta=world/metadata --out=full/out --part-rows=2048 --model=A
    full "full/out/" pool 24k npr-search --index=index --head=head --k=10 --out=full/out
    full "full/out/" indexed "$(($(du -sk --apparent-size index | cut -f1) + 900))k" npr-index --set=full/out --factory=Flat
    full "full/out/" primed 12k npr-solve --pool=pool --head=head --test=test --alpha=0.5 --out=full/out
    # room for bytes, but for no more names: of the lock, the identity, a journal, a part
    for names in 3 4 5 6; do
        mount -t tmpfs -o size=1m,nr_inodes=$names tmpfs full
        expect 74 "No space left on device" 1 npr-search --index=index --head=head --k=10 --out=full/out
        ! grep -qe '-1 bytes' err || fail "room on a disk that was not asked for it: $(cat err)"
        umount full
    done
else
    echo "skipped: the full disk needs root and mount" >&2
fi

done_with bad_input
