#!/bin/bash
# What a program is to write is tried before its work: whatever cannot be written is refused at once, with 73 and one sentence,
# before an input is looked at. Every option of every program that names an output.
# shellcheck source=tests/lib.sh
source "$(dirname "$0")/../lib.sh"
cd "$TMP"

touch plain
mkdir folder
tried=0

# refused OPTION PROGRAM ARGS...: nothing can be made in /proc, by root either; whose inputs are not there
refused() {
    local option=$1 program=$2
    shift 2
    expect 73 "$option=/proc/x: /proc: cannot create a file in it" 1 "$program" "$@" "$option=/proc/x"
    tried=$((tried + 1))
}

solve=(npr-solve --head=nowhere --test=nowhere)
search=(npr-search --index=nowhere --head=nowhere)
refused --out npr-ingest --emb=nowhere
refused --out npr-extract --images=nowhere --model=nowhere --config=nowhere
refused --out npr-minilaion --embeddings
refused --out "${search[@]}"
refused --urls "${search[@]}" --out=new
refused --out "${solve[@]}"
for option in --predictions --per-class --sweep-table; do refused "$option" "${solve[@]}" --out=new; done
refused --out npr-sheet --set=nowhere --classes=1
[ "$tried" = "$(cat "${NPR_SOURCE:?}"/jobs/npr-*.c | grep -c NPR_OPT_OUT_)" ] || fail "$tried outputs were tried, the programs have others"

# the record, of all programs
refused_record() {
    expect 73 "--record=/proc/x: /proc: cannot create a file in it" 1 "$@" --record=/proc/x
}
refused_record npr-ingest --emb=nowhere --out=new
refused_record npr-index --set=nowhere --factory=Flat
refused_record npr-extract --images=nowhere --model=nowhere --config=nowhere --out=new
refused_record "${search[@]}" --out=new
refused_record "${solve[@]}" --out=new
refused_record npr-verify --set=nowhere
refused_record npr-sheet --set=nowhere --classes=1 --out=new.jpg
refused_record npr-plan --rows=1000
refused_record npr-bench --rows=1000
refused_record npr-minilaion --embeddings --out=new

# any rank may be asked, and a dry run; what is in the way is named
expect 73 "--urls=/proc/x: /proc: cannot create a file in it" 3 "${search[@]}" --out=new --urls=/proc/x
expect 73 "--urls=plain/x.tsv: plain" 2 "${search[@]}" --out=new --urls=plain/x.tsv
expect 73 "--urls=folder: is a folder, wanted the name of a file" 1 "${search[@]}" --out=new --urls=folder
expect 73 "--out=plain: plain: is a file, wanted a folder" 2 "${search[@]}" --out=plain

# two outputs of one name
expect 64 "--predictions=a.csv: --per-class is the same" 2 "${solve[@]}" --out=new --per-class=a.csv --predictions=a.csv
expect 64 "--record=a.tsv: --urls is the same" 1 "${search[@]}" --out=new --urls=a.tsv --record=a.tsv
expect 64 "--predictions=./a.csv: --per-class is the same" 2 "${solve[@]}" --out=new --per-class=a.csv --predictions=./a.csv
expect 64 "--predictions=b//../a.csv: --per-class is the same" 1 "${solve[@]}" --out=new --per-class="$PWD/a.csv" --predictions=b//../a.csv
expect 64 "--predictions=new: --out is the same" 1 "${solve[@]}" --out=new/ --predictions=new
# in a folder of --out, which would be no set then; in place of a file of its own; below a file
expect 64 "--per-class=new/tables/x.csv: lies in --out=new, which is filled by the job alone" 3 "${solve[@]}" --out=new --per-class=new/tables/x.csv
expect 64 "--record=./new/a/x.txt: lies in --out=new/, which is filled by the job alone" 1 "${search[@]}" --out=new/ --record=./new/a/x.txt --dry-run
for file in manifest.json part-00000.h5 classes.tsv result.txt; do
    expect 64 "--record=new/$file: lies in --out=new, which has a file of this name itself" 1 "${search[@]}" --out=new --record=new/$file
done
expect 64 "--out=a.tsv/new: lies in --urls=a.tsv, which is a file" 1 "${search[@]}" --out=a.tsv/new --urls=a.tsv
# one that is wrong: the folders of the others are not made
expect 73 "--record=/proc/x: /proc: cannot create a file in it" 1 "${solve[@]}" --out=new --per-class=far/away/x.csv --record=/proc/x
# and nothing is left of all that, nor of a dry run whose inputs are not there
expect 66 "nowhere" 1 "${search[@]}" --out=new --urls=new/urls.tsv --dry-run
[ "$(find . -mindepth 1 ! -name out ! -name err | sort | xargs)" = "./folder ./plain" ] || fail "left behind: $(find .)"

# folders are made; those of a dry run are not, but for its record's
must 1 npr-minilaion --embeddings --out=world --rows=500 --dim=64 --classes=4 --tests=5
must 1 npr-ingest --emb=world/text/head.npy --meta=world/text/head.tsv --kind=head --out=head
must 1 npr-ingest --emb=world/test/test.npy --labels=world/test/test_labels.txt --kind=test --out=test
solve=(npr-solve --head=head --test=test --pool=test --out=made/primed --per-class=made/a/classes.csv --predictions=made/b/predictions.tsv)
must 1 "${solve[@]}" --dry-run --record=made/record/dry.txt
[ "$(find made -mindepth 1 | sort | xargs)" = "made/record made/record/dry.txt" ] || fail "a dry run wrote: $(find made)"
must 1 "${solve[@]}" --dry-run --record=made/record/dry.txt --sweep --sweep-table=folder
once "warning: the job itself would be refused here: --sweep-table=folder: is a folder, wanted the name of a file" || fail "no warning: $(cat err)"
cp -r test kept
expect 64 "--predictions=kept/../test/manifest.json: is a file of the set there" 2 npr-solve --head=head --test=test --out=new --predictions=kept/../test/manifest.json
expect 64 "--record=test/part-00000.h5: is a file of the set there" 1 npr-verify --set=test --record=test/part-00000.h5
same kept test "an input set"
must 3 "${solve[@]}" --sweep --sweep-table=made/c/sweep.csv --record=made/record/run.txt
for file in a/classes.csv b/predictions.tsv c/sweep.csv record/run.txt primed/manifest.json; do
    [ -s "made/$file" ] || fail "made/$file was not written"
done
[ -z "$(find . -name '*.tmp.*' -o -name '.npr-output*')" ] || fail "left behind: $(find .)"

# a finished set may lie where nothing can be written any more
if [ "$(id -u)" = 0 ] && mkdir closed && mount -t tmpfs tmpfs closed 2>/dev/null; then
    trap 'umount -q closed || true; rm -rf "$TMP"' EXIT
    must 1 npr-solve --head=head --test=test --pool=test --out=closed/primed
    mount -o remount,ro closed
    must 2 npr-solve --head=head --test=test --pool=test --out=closed/primed
    expect 73 "--out=closed/other: closed: cannot create a file in it: Read-only file system" 2 npr-solve --head=head --test=test --out=closed/other
    expect 73 "--predictions=closed/x.tsv: closed: cannot create a file in it: Read-only file system" 2 \
        npr-solve --head=head --test=test --out=again --predictions=closed/x.tsv
    must 2 npr-solve --head=head --test=test --pool=test --out=closed/other --dry-run # a plan is made where nothing can be written, too
    once "warning: the job itself would be refused here: --out=closed/other: closed: cannot create a file in it: Read-only file system" ||
        fail "no warning: $(cat err)"
    umount closed
else
    echo "skipped: the closed file system needs root and mount" >&2
fi
done_with outputs
