#!/bin/bash
# README's example of a cluster and site-laion.sh.in are the same run: both on a small made-up tree with LAION's names, README's lines as they
# stand there, the stages through pipeline.sh, and the same bytes. For Slurm's commands stand scripts. The stage `metadata` wants pyarrow.
# shellcheck source=tests/lib.sh
source "$(dirname "$0")/../lib.sh"
((!SANITIZED)) || { echo "slurm_laion: it tests scripts; the programs have sanitized tests of their own" && exit 77; }
cd "$TMP"
mkdir clone fake laion byhand batch
cp -r "${NPR_SOURCE:?}"/{slurm,jobs} clone/
python=${NPR_PYTHON:-python3} # one with pyarrow
clip=$NPR_SOURCE/jobs/minilaion

# ---- the tree: vectors and metadata in files as published, pictures to test on, and what the user brings
must 1 npr-minilaion --embeddings --out=rows --rows=3000 --dim=96 --classes=8 --rows-per-file=1000
must 2 npr-minilaion --rows=100 --classes=8 --tests=4 --val=2 --shots=2 --out=world
mkdir -p laion/img_emb laion/metadata
cp rows/img_emb/img_emb_000[0-2].npy laion/img_emb/
stages=(ingest extract search solve transduce)
if "$python" -c 'import pyarrow' 2>/dev/null; then
    stages=(metadata "${stages[@]}")
    "$python" - <<'END'
import glob, pyarrow, pyarrow.parquet
for path in glob.glob("rows/metadata/*.tsv"):
    names, *rows = [line.rstrip("\n").split("\t") for line in open(path, encoding="utf-8", newline="\n")]
    columns = {name.upper(): pyarrow.array(column) for name, column in zip(names, zip(*rows))}
    pyarrow.parquet.write_table(pyarrow.table(columns), path.replace("rows/", "laion/").replace(".tsv", ".parquet"))
END
else
    cp -r rows/metadata byhand/
    cp -r rows/metadata batch/
    echo "without pyarrow: the stage metadata is left out" >&2
fi
for folder in byhand batch; do
    cp world/coined/classes.txt world/templates.txt "$folder/"
    cp "$clip/model.safetensors" "$folder/ViT-L-14-openai.safetensors"
    cp "$clip/config.json" "$folder/ViT-L-14-quickgelu.json"
    cp "$clip/vocab.txt.gz" "$folder/bpe_simple_vocab_16e6.txt.gz"
    cp rows/text/classes.txt "$folder/classes.txt"
done

# ---- by hand: README's lines
sed -n '/^    salloc /,/^$/s/^    //p' "$NPR_SOURCE/README.md" >lines
[ "$(grep -c '^srun ' lines)" = 5 ] || fail "README's example: $(cat lines)"
(
    [ "${stages[0]}" != metadata ] || "$python" clone/jobs/parquet2tsv.py laion/metadata/*.parquet --out=byhand/metadata 2>said || fail "$(cat said)"
    # shellcheck disable=SC2016,SC2034,SC2317 # README's lines use them
    LAION=$TMP/laion WORK=$TMP/byhand IMAGENET=$TMP/imagenet
    salloc() { :; }
    srun() {
        while [[ $1 == -* ]]; do shift; done
        must 2 "$@"
    }
    mkdir -p imagenet && ln -s "$TMP/world/coined/test" imagenet/val
    cd byhand
    # shellcheck disable=SC1091
    source ../lines
    # README's sentence on transductive priming
    near=$(grep -o 'npr-search --index=$WORK/pool --queries=$WORK/test --pool=row --k=10 --out=$WORK/near' "$NPR_SOURCE/README.md")
    grep -q 'npr-solve --pool=$WORK/near \.\.\.' "$NPR_SOURCE/README.md" || fail "README does not solve with $WORK/near"
    eval "srun $near --threads=8"
    srun npr-solve --head="$WORK/head" --pool="$WORK/near" --test="$WORK/test" --alpha=loo --out="$WORK/primed-near"
    ((FAILURES == 0)) # what failed in these parentheses is not counted outside
)

# ---- as batch jobs: site-laion.sh.in, its paths filled in
write() { cat >"$1" && chmod +x "$1"; }
# shellcheck disable=SC2016 # the scripts expand their variables themselves
{
    write fake/srun <<<'#!/bin/bash
while [[ $1 == -* ]]; do
    [ "$1" != -n ] || shift
    shift
done
exec mpirun -n 3 "$@"'
    write fake/squeue <<<'#!/bin/bash'
    write fake/sbatch <<<'#!/bin/bash
array=
for arg in "$@"; do
    case $arg in
    --array=*) array=${arg#*=} ;;
    --export=*) export NPR_SLURM=${arg##*NPR_SLURM=} ;;
    *.sbatch) script=$arg ;;
    esac
done
export SLURM_JOB_ID=$((100 + $(wc -l <"$NOTES")))
echo "$@" >>"$NOTES"
if [ -z "$array" ]; then
    bash "$script" >>"$NOTES.log" 2>&1 || exit
else
    tasks=()
    for range in ${array//,/ }; do
        for ((i = ${range%-*}; i <= ${range#*-}; i++)); do tasks+=("$i"); done
    done
    export SLURM_ARRAY_JOB_ID=$SLURM_JOB_ID SLURM_ARRAY_TASK_COUNT=${#tasks[@]}
    for i in "${tasks[@]}"; do
        SLURM_ARRAY_TASK_ID=$i bash "$script" >>"$NOTES.log" 2>&1 || exit
    done
fi
echo "$SLURM_JOB_ID"'
}
site() { # LINES...: site.sh with these beside LAION's
    {
        cat "$NPR_SOURCE"/slurm/site.sh.in "$NPR_SOURCE"/slurm/site-laion.sh.in
        printf '%s\n' "$@"
    } | sed "s|^NPR_BIN=.*|NPR_BIN=$BIN|; s|^NPR_WORK=.*|NPR_WORK=$TMP/batch|; s|^NPR_INPUT=/path/to/laion |NPR_INPUT=$TMP/laion |;
        s|^NPR_TEST_IMAGES=/path/to/imagenet/val|NPR_TEST_IMAGES=$TMP/imagenet/val|" >clone/slurm/site.sh
}
# shellcheck disable=SC2016
site "NPR_PYTHON=$python" 'NPR_RANKS_PER_NODE=1' 'NPR_NODES=2' "NPR_STAGES=(${stages[*]})"
export NOTES=$TMP/notes PATH=$TMP/fake:$PATH
: >notes
chmod a-w laion laion/metadata
bash clone/slurm/pipeline.sh >jobs || fail "pipeline.sh: $(tail -n 5 notes.log)"
chmod u+w laion laion/metadata
[ "$(cut -d' ' -f1 jobs | paste -sd' ')" = "${stages[*]}" ] || fail "stages: $(cat jobs)"
[ "$(ls laion/metadata | grep -vc parquet)" = 0 ] || fail "something was written to the published files: $(ls laion/metadata)"
grep -q -- '--array=0 .*ingest\.sbatch' notes || fail "ingest is queued for more than the index: $(cat notes)"
! grep -q "left out" notes.log || fail "a task without work: $(grep "left out" notes.log)"
grep -q -- '--mem=[0-9]*G.*search.sbatch' notes || fail "no memory is asked for: $(cat notes)"
if [ "${stages[0]}" = metadata ]; then
    for file in rows/metadata/*.tsv; do # texts and numbers as they were; LAION's names are capitals
        same <(tail -n +2 "$file") <(tail -n +2 "batch/${file#rows/}") "the metadata as text"
    done
fi
for set in index head test pool primed near primed-near; do same byhand/$set batch/$set "$set by README and by site-laion.sh.in"; done
[ "$(sed -n '/^NPR_STAGES=/s/ *#.*//p' "$NPR_SOURCE/slurm/site-laion.sh.in")" = "NPR_STAGES=(metadata ingest extract search solve)" ] ||
    fail "stages of site-laion.sh.in"
done_with slurm_laion
