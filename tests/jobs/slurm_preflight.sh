#!/bin/bash
# pipeline.sh looks before it queues: programs that do not start, inputs that are not there and that no stage before makes, each with one
# sentence and an exit code; nothing is queued then.
# shellcheck source=tests/lib.sh
source "$(dirname "$0")/../lib.sh"
((!SANITIZED)) || { echo "slurm_preflight: it tests scripts" && exit 77; }
cd "$TMP"
mkdir clone fake "a work" laion laion/img_emb laion/metadata val
cp -r "${NPR_SOURCE:?}/slurm" clone/
write() { cat >"$1" && chmod +x "$1"; }
# shellcheck disable=SC2016 # the scripts expand their variables themselves
write fake/sbatch <<<'#!/bin/bash
echo "$*" >>"$NOTES"
wc -l <"$NOTES"'
write fake/python <<<'#!/bin/bash
exec true'
write fake/no-python <<<'#!/bin/bash
echo "ModuleNotFoundError: No module named pyarrow" >&2
exit 1'
export NOTES=$TMP/notes PATH=$TMP/fake:$PATH
sed "s|^NPR_INPUT=/path/to/laion |NPR_INPUT=$TMP/laion |; s|=/path/to/imagenet/val|=$TMP/val|; s|^NPR_BIN=.*|NPR_BIN=$BIN|; s|^NPR_WORK=.*|NPR_WORK='$TMP/a work'|
    s|^NPR_PYTHON=.*|NPR_PYTHON=$TMP/fake/python|" "$NPR_SOURCE"/slurm/site.sh.in "$NPR_SOURCE"/slurm/site-laion.sh.in >site.sh
touch laion/img_emb/img_emb_000{0,1}.npy laion/metadata/metadata_000{0,1}.parquet
touch "a work"/{classes.txt,templates.txt,bpe_simple_vocab_16e6.txt.gz,ViT-L-14-openai.safetensors,ViT-L-14-quickgelu.json}

# check CODE WORDS LINE STAGES...: with this line in site.sh the look ends so, in one sentence, and nothing is queued
check() {
    local want=$1 words=$2 got=0
    cat site.sh - >clone/slurm/site.sh <<<"$3"
    shift 3
    : >notes
    bash clone/slurm/pipeline.sh "$@" >said 2>&1 || got=$?
    [ "$got" = "$want" ] && grep -qF -- "$words" said && [ "$(wc -l <said)" = 1 ] || fail "$*: $got, wanted $want with \"$words\": $(cat said)"
    [ ! -s notes ] || fail "queued all the same: $(cat notes)"
}
fine="programs start, inputs are there or made on the way"
check 0 "metadata ingest extract search solve: $fine" "" --check
check 0 "$fine" "" --check metadata ingest extract index search solve verify
check 64 "unknown option --chek" "" --chek
check 64 'no stage "sarch"' "" --check sarch

# programs and python
check 78 "ingest: $TMP/none/npr-ingest does not start here" "NPR_BIN=$TMP/none" ingest
check 78 "ingest: apptainer-of-none exec $BIN/npr-ingest does not start here" "NPR_PREFIX=(apptainer-of-none exec)"
check 0 "$fine" "NPR_PREFIX=(env 'A=two words')" --check
check 78 "metadata: $TMP/fake/no-python (NPR_PYTHON in site.sh) has no pyarrow: ModuleNotFoundError" "NPR_PYTHON=$TMP/fake/no-python"
# shellcheck disable=SC2016
check 0 "$fine" 'npr_modules() { export A=$OF_NONE; false; }' --check # modules need not be written for set -eu

# inputs
check 66 "metadata: NPR_PARQUET in site.sh is \"$TMP/none/*.parquet\": nothing is there" "NPR_PARQUET='$TMP/none/*.parquet'"
check 64 "ingest: NPR_EMB, NPR_HEAD_EMB and NPR_TEST_EMB in site.sh are all empty" "NPR_EMB="
mkdir laion/texts && touch laion/texts/a.parquet
check 64 "metadata: NPR_PARQUET in site.sh is \"$TMP/laion/texts\"; wanted a pattern of files" "NPR_PARQUET=$TMP/laion/texts"
check 0 "$fine" "NPR_PARQUET=$TMP/laion/texts/a.parquet" --check
check 66 "ingest: NPR_META in site.sh is \"$TMP/a work/metadata/*.tsv\": nothing is there, and no stage before makes it" "" ingest
check 66 "ingest: NPR_EMB in site.sh" "NPR_EMB=@$TMP/no-list"
touch list
check 64 "metadata: NPR_PARQUET in site.sh is \"@$TMP/list\"; wanted a pattern of files" "NPR_PARQUET=@$TMP/list"
check 0 "$fine" "NPR_EMB=@$TMP/list" --check
check 64 "extract: NPR_CLIP_WEIGHTS in site.sh is empty" "NPR_CLIP_WEIGHTS="
for name in NPR_CLIP_WEIGHTS NPR_CLIP_CONFIG NPR_CLIP_VOCAB NPR_CLIP_TEMPLATES NPR_CLASSES NPR_TEST_IMAGES; do
    check 66 "extract: $name in site.sh is \"$TMP/none\": nothing is there" "$name=$TMP/none"
done
check 64 "are all empty" "NPR_TEST_IMAGES= NPR_CLIP_TEMPLATES="
check 66 "ingest: NPR_HEAD_META in site.sh is \"$TMP/none\"" "NPR_HEAD_EMB=$TMP/list NPR_HEAD_META=$TMP/none"

# sets: there, or made by a stage before; the head of LAION's list is what extract makes
check 66 "search: the set $TMP/a work/head is not there, and no stage before makes it: metadata ingest search solve" "" metadata ingest search solve
check 66 "search: the set $TMP/a work/index is not there" "" search
check 66 "solve: the set $TMP/a work/test is not there" "NPR_TEST_IMAGES=" --check
check 66 "solve: the set $TMP/a work/pool is not there" "" metadata ingest extract solve search # in order
mkdir -p "a work/index" "a work/head"
touch "a work/index/manifest.json"
check 66 "search: the set $TMP/a work/head is not there" "" search # begun, not complete
touch "a work/head/manifest.json"
check 0 "$fine" "" --check search
faiss="NPR_SEARCH_OPTIONS=(--mode=faiss --k=10)"
check 78 "search: --mode=faiss in NPR_SEARCH_OPTIONS, but $TMP/a work/index has no FAISS index" "$faiss" search
check 78 'and no stage "index" comes before: metadata ingest extract search solve' "$faiss"
check 0 "$fine" "$faiss" --check index search
must 1 npr-minilaion --embeddings --out=rows --rows=300 --dim=64 --classes=3
must 1 npr-ingest --emb=rows/img_emb --meta=rows/metadata --model=m --out=indexed
for want in 78 0; do # a set as it is published, and with indexes in its parts
    cp indexed/manifest.json "a work/index/"
    check $want "" "$faiss" --check search
    must 1 npr-index --set=indexed --factory=Flat
done
check 64 "join: NPR_TOWER in site.sh is NPR_WORK" "" search join
check 64 "join: NPR_SHARDS in site.sh is empty" "NPR_TOWER=$TMP/tower" search join
check 66 "solve: the set $TMP/tower/test is not there" "NPR_TOWER=$TMP/tower NPR_SHARDS=$TMP/list NPR_TEST_IMAGES=" extract search join solve
check 0 "$fine" "NPR_TOWER=$TMP/tower NPR_SHARDS=$TMP/list" --check extract search join solve

# queued: what is right, and what is not looked at
cp site.sh clone/slurm/site.sh
bash clone/slurm/pipeline.sh search >said 2>&1 && [ "$(wc -l <notes)" = 1 ] || fail "what is right: $(cat said)"
rm -r "a work/index"
bash clone/slurm/pipeline.sh --unchecked search >said 2>&1 && [ "$(wc -l <notes)" = 2 ] || fail "--unchecked: $(cat said)"
for stage in "$NPR_SOURCE"/slurm/stages/*.sbatch; do
    grep -q "^preflight_$(basename "$stage" .sbatch)() {" "$NPR_SOURCE/slurm/preflight.sh" || fail "nothing is looked at for $stage"
done
done_with slurm_preflight
