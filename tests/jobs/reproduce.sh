#!/bin/bash
# reproduce.sh on a small painted world: every cell is the number of npr-solve's record, all others say "no data"; what was
# killed goes on and runs only what is left; pictures encoded anew for an index of another tower give the same bytes; what is
# wrong in a datasets.conf is named with its line; on a cluster the same stages run as job steps.
# shellcheck source=tests/lib.sh
source "$(dirname "$0")/../lib.sh"
((!SANITIZED)) || { echo "reproduce: its stages are tested with sanitizers by themselves" && exit 77; }
export BUILD=$BIN RANKS=2 WORLD=$TMP/world
ROOT=$NPR_SOURCE CONF=$TMP/world.conf
must 2 npr-minilaion --rows=2000 --classes=40 --tests=3 --val=2 --shots=5 --out="$WORLD"
model=$ROOT/jobs/minilaion
cat >"$CONF" <<END
note = SYNTHETIC
weights = $model/model.safetensors
config = $model/config.json
vocab = $model/vocab.txt.gz
templates = \${WORLD}/templates.txt # a remark
clip_templates = $model/template.txt
index_images = world/pictures
id_field = id
per_class = 1000000
filters = argmax top3
shots_per_class = 0,1,3
seeds = 2
sizes = 1 5

[coined]
classes = \${WORLD}/coined/classes.txt
prompts = world/coined/prompts.json
test = world/coined/test
val = world/coined/val
shots = world/coined/shots
near_copy = 0.9

[sketch]
paper = ImageNet-R
base = coined
test = world/coined/sketch
subset = subset.txt
END
printf '%s\n' 1 3 5 7 >"$TMP/subset.txt"

# Pictures of a table that another run has drawn already are left out: a gnuplot that draws nothing.
mkdir "$TMP/undrawn"
printf '%s\n' '#!/bin/bash' 'cat >/dev/null' >"$TMP/undrawn/gnuplot"
chmod +x "$TMP/undrawn/gnuplot"
undrawn() { PATH=$TMP/undrawn:$PATH "$@"; }

reproduce() { timeout 500 bash "$ROOT/jobs/reproduce.sh" "$@" >"$TMP/out" 2>"$TMP/err"; }
steps() { sed -n 's/^== \([0-9]*\) stages run, \([0-9]*\) found done$/\1 \2/p' "$TMP/err"; }

# killed after a few stages, then again with the same command
reproduce all --conf="$CONF" --work="$TMP/w" --out="$TMP/res" &
job=$!
until [ -e "$TMP/w/records/coined/primed-argmax.key" ]; do
    kill -0 $job 2>/dev/null || { cat "$TMP/err" >&2 && fail "ended by itself" && break; }
    sleep 0.1
done
pkill -KILL -P "$(pgrep -P $job | head -n 1)" 2>/dev/null || true
kill -KILL "$(pgrep -P $job | head -n 1)" 2>/dev/null || true
wait $job 2>/dev/null || true
sleep 1
before=$(find "$TMP/w/records" -name '*.key' | wc -l)
reproduce all --conf="$CONF" --work="$TMP/w" --out="$TMP/res" || { cat "$TMP/err" >&2 && fail "ended with $?"; }
read -r run found <<<"$(steps)"
total=$(find "$TMP/w/records" -name '*.key' | wc -l)
[ "$found" = "$before" ] && [ $((run + found)) = "$total" ] && [ "$run" -gt 0 ] && [ "$found" -gt 5 ] ||
    fail "resume: $run run, $found found done; $before were, $total are"
cp -r "$TMP/res" "$TMP/res1"
undrawn reproduce all --conf="$CONF" --work="$TMP/w" --out="$TMP/res" || fail "a second run ended with $?"
[ "$(steps)" = "0 $total" ] || fail "a second run: $(steps), wanted 0 $total"
for t in table1 table2 fewshot poolsize; do same "$TMP/res1/$t.csv" "$TMP/res/$t.csv" "$t of a second run"; done

# every cell against the records, read by Python
/usr/bin/python3 - "$TMP/w/records" "$TMP/res" "$ROOT/jobs/reproduce/paper.csv" <<'PY' || fail "cells are not the records' numbers"
import csv, os, sys
records, res, paper = sys.argv[1:]
rec = {}
for folder, _, names in os.walk(records):
    for n in names:
        if n.endswith(".txt"):
            path = os.path.join(folder, n)
            rec["records/" + os.path.relpath(path, records)] = dict(l.rstrip("\n").split("=", 1) for l in open(path))
known = {}
for r in csv.DictReader(open(paper)):
    known[r["table"], r["dataset"], r["method"], r["x"], r["classes"], r["measure"]] = r["value"]
assert known[("table1", "Flowers", "priming", "", "all", "top1")] == "79.81" and len(known) == 105
cells = {}
for t in ("table1", "table2", "fewshot", "poolsize"):
    rows = list(csv.DictReader(open(f"{res}/{t}.csv")))
    assert all(None not in r and None not in r.values() and r["note"] == "SYNTHETIC" for r in rows), t
    for r in rows:
        key = (t, r["dataset"], r["method"], r["x"], r["classes"], r["measure"])
        assert key not in cells, key
        cells[key] = r
        want = known.get(key)
        assert r["published"] == want if want else r["published"] in ("not known", "not in the paper"), r
        if r["dataset"] not in ("coined", "ImageNet-R") or r["ours"] == "no data":
            assert r["ours"] == r["low"] == r["high"] == r["difference"] == "no data" and r["gain"] == r["alpha"] == r["record"] == "", r
        else:
            assert r["difference"] == ("%.2f" % (float(r["ours"]) - float(want)) if want else r["published"]), r
    assert {k for k in known if k[0] == t} <= set(cells), t # no published figure is left out
# the chosen filter is the one that does best on validation images, which are all that was looked at
tried = {f: rec[f"records/coined/choose-{f}.txt"] for f in ("argmax", "top3")}
assert all("result.test_rows" not in v and "validation" in v["option.validation"] + v["result.alpha_from"] for v in tried.values())
value = {f: max(float(x) for k, x in v.items() if k.startswith("result.validation.")) for f, v in tried.items()}
first, chosen = "argmax", max(value, key=value.get)
words = {"argmax": "argmax filter", "top3": "top 3 of each class"}
def check(t, d, method, record, key, x="", classes="all", gain=None, rule=None):
    v = rec["records/" + record]
    within = "subset." if classes == "subset" else ""
    for measure, fields in (("top1", ("top1", "low", "high")), ("class mean", ("mean", "mean_low", "mean_high"))):
        r = cells[t, d, method, x, classes, measure]
        for column, field in zip(("ours", "low", "high"), fields):
            assert abs(float(r[column]) - 100 * float(v[f"result.{within}{key}.{field}"])) < 0.0051, (r, field)
        if gain and measure == "top1":
            for column, field in (("gain", "top1"), ("gain_low", "low"), ("gain_high", "high")):
                assert abs(float(r[column]) - 100 * float(v[f"result.{within}{gain}.{field}"])) < 0.0051, (r, field)
            assert r["alpha"] == v["result.alpha"] and r["alpha_rule"] == (rule or v["result.alpha_from"]) and r["pool_rows"] == v["result.pool_rows"]
    return r
check("table1", "coined", "zero-shot: own templates", f"coined/primed-{first}.txt", "zero_shot")
check("table1", "coined", "zero-shot: general templates", f"coined/general-{first}.txt", "zero_shot")
check("table1", "coined", "zero-shot: CuPL", f"coined/primed-{first}.txt", "baseline.2")
check("table1", "coined", "zero-shot: own templates + CuPL", f"coined/both-{first}.txt", "zero_shot")
for head, name in (("primed", "priming"), ("general", "priming; general templates"), ("both", "priming + CuPL")):
    r = check("table1", "coined", name, f"coined/{head}-{first}.txt", "primed", gain="gain", rule="validation")
    assert r["how"] == "argmax filter; the paper's", r
    r = check("table1", "coined", name + "; filter chosen on validation", f"coined/{head}-{chosen}.txt", "primed", gain="gain", rule="validation")
    assert r["how"] == words[chosen] + "; chosen on validation" and r["published"] in ("not known", "not in the paper"), r
    check("table1", "coined", name + "; " + words["top3"], f"coined/{head}-top3.txt", "primed", gain="gain", rule="validation")
r = check("table1", "coined", "priming; the authors' alpha", "coined/authors-argmax.txt", "primed", gain="gain", rule="given")
assert rec["records/coined/authors-argmax.txt"]["result.alpha"] == "0.9", r
r = check("table1", "coined", "priming; without near-duplicates", "coined/clean.txt", "primed", gain="gain", rule="validation")
v = rec["records/coined/clean.txt"]
assert int(v["result.excluded_rows"]) == int(rec["records/coined/copies.txt"]["result.pool_rows"]) > 0
assert int(v["result.pool_rows"]) + int(v["result.excluded_rows"]) == int(rec[f"records/coined/primed-{first}.txt"]["result.pool_rows"])
assert r["how"] == "%s pool rows with a cosine of 0.9 or more to a test image left out; with them at this alpha %.2f" % (
    v["result.excluded_rows"], 100 * float(v["result.with_excluded.top1"])), r
open(res + "/chosen", "w").write(words[chosen] + "\n")
r = cells["table1", "coined", "priming", "", "all", "top1"]
assert abs(float(r["over_general"]) - (float(r["ours"]) - float(cells["table1", "coined", "zero-shot: general templates", "", "all", "top1"]["ours"]))) < 0.011
for classes in ("all", "subset"):
    check("table2", "ImageNet-R", "zero-shot: own templates", "sketch/transductive.txt", "zero_shot", classes=classes)
    check("table2", "ImageNet-R", "zero-shot: general templates", "sketch/transductive.txt", "baseline.1", classes=classes)
    check("table2", "ImageNet-R", "priming; pool of the base set", f"sketch/primed-{first}.txt", "primed", classes=classes, gain="gain")
    check("table2", "ImageNet-R", "priming; pool of the base set; filter chosen on validation", f"sketch/primed-{chosen}.txt", "primed",
          classes=classes, gain="gain")
    for method, name in (("", ""), ("; weighted", "-count"), ("; argmax filter", "-argmax")):
        check("table2", "ImageNet-R", "transductive priming" + method, f"sketch/transductive{name}.txt", "primed", classes=classes, gain="gain",
              rule="validation; in the same way")
        assert rec[f"records/sketch/transductive{name}.txt"]["result.alpha"] == rec[f"records/coined/transductive{name}-val.txt"]["result.alpha"]
assert rec["records/sketch/transductive.txt"]["result.subset.classes"] == "4"
for n in ("0", "1", "3"):
    for method, with_, f in (("shots and the pool", "pool", first), ("shots and the pool; filter chosen on validation", "pool", chosen),
                             ("shots alone", "alone", first)):
        v = rec[f"records/coined/few-{f}.txt"]
        r = cells.get(("fewshot", "coined", method, n, "all", "top1"))
        if n == "0" and with_ == "alone":
            assert r is None
            continue
        mean, sd = (float(v[f"result.fewshot.{n}.{with_}.{f}"]) for f in ("top1", "top1_sd"))
        assert abs(float(r["ours"]) - 100 * mean) < 0.0051 and r["draws"] == ("1" if n == "0" else "2"), r
        if n != "0":
            assert abs(float(r["sd"]) - 100 * sd) < 0.0051
            assert abs(float(r["high"]) - 100 * (mean + 12.706 * sd / 2 ** 0.5)) < 0.02, r
for n in ("1", "5"):
    for method, name in (("random rows of each class", "sample"), ("random rows that pass the filter", "argmax-of-"), ("most similar rows of each class", "top")):
        check("poolsize", "coined", "priming; " + method, f"coined/size-{name}{n}.txt", "primed", x=n, gain="gain")
assert int(rec["records/coined/size-sample1.txt"]["result.pool_rows"]) <= 20 < int(rec["records/coined/size-sample5.txt"]["result.pool_rows"])
PY
words=$(<"$TMP/res/chosen")
grep -q "^| priming (argmax filter; the paper's) | " "$TMP/res/table1.md" && grep -q "^| priming; filter chosen on validation ($words; chosen on validation) | " "$TMP/res/table1.md" &&
    grep -q "^- coined: argmax filter; the paper's; in lines that say so: $words; chosen on validation among argmax, top3$" "$TMP/res/table2.md" && grep -q '^## Flowers' "$TMP/res/table1.md" || fail "table1.md: $(head -20 "$TMP/res/table1.md")"
if command -v gnuplot >/dev/null; then
    for t in table1 table2 fewshot poolsize; do
        for image in "$t" "${t}_table"; do
            [ "$(head -c 4 "$TMP/res/$image.png" | tail -c 3)" = PNG ] && grep -q '</svg>' "$TMP/res/$image.svg" || fail "$image is no picture"
        done
    done
    grep -q 'no data' "$TMP/res/table1_table.svg" || fail "the picture of table 1 says nothing of what has no data"
fi

# told so, another filter stands beside the paper's figure, and says that it is not the paper's
sed -e 's|^near_copy.*|filter = top3|' "$CONF" >"$TMP/other-filter.conf"
reproduce table1 --tables --conf="$TMP/other-filter.conf" --work="$TMP/w" --out="$TMP/res2" || fail "another filter: $(tail -3 "$TMP/err")"
grep -q "^| priming (top 3 of each class; not the paper's) | " "$TMP/res2/table1.md" && grep -q '^| priming; argmax filter (' "$TMP/res2/table1.md" ||
    fail "another filter: $(grep '^| priming' "$TMP/res2/table1.md")"

# some choices tried, not all: nothing is called chosen
mkdir -p "$TMP/some"
cp -r "$TMP/w/records" "$TMP/some/"
rm "$TMP/some/records/coined/choose-top3.txt"
reproduce table1 --tables --conf="$CONF" --work="$TMP/some" --out="$TMP/res2" || fail "some choices tried: $(tail -3 "$TMP/err")"
grep -qx -- "- coined: argmax filter; the paper's" "$TMP/res2/table1.md" && ! grep -q 'chosen on validation' "$TMP/res2/table1.md" ||
    fail "some choices tried: $(grep chosen "$TMP/res2/table1.md")"

# what holds for all may name validation images and shots, too: the same sets of each data set
{ grep -E '^(val|shots) = ' "$CONF" && grep -vE '^(val|shots) = ' "$CONF"; } >"$TMP/all.conf"
undrawn reproduce all --conf="$TMP/all.conf" --work="$TMP/w" --out="$TMP/res2" || fail "val and shots for all: $(tail -3 "$TMP/err")"
for t in table1 table2 fewshot poolsize; do same "$TMP/res/$t.csv" "$TMP/res2/$t.csv" "$t with val and shots for all"; done
[ "$(steps)" = "0 $total" ] || fail "val and shots for all: $(steps), wanted 0 $total"

# an index of another tower: without its pictures it is refused; with them the pool has the same bytes
must 2 npr-extract --kind=index --images="$WORLD/pictures" --id-field=id --model="$model/model.safetensors" --config="$model/config.json" \
    --model-name=other --out="$TMP/other"
sed -e "s|^index_images.*|index = other|; /^\[sketch\]/,\$d" "$CONF" >"$TMP/other.conf"
cp -r "$TMP/w" "$TMP/w2"
rm -rf "$TMP"/w2/{,records/}coined/{recalled,pool,primed}*
got=0
reproduce table1 --conf="$TMP/other.conf" --work="$TMP/w2" --out="$TMP/res2" || got=$?
[ "$got" = 78 ] && grep -q "line 7: the index is of model other" "$TMP/err" || fail "another tower: $got $(tail -1 "$TMP/err")"
echo 'pool_root = world/pictures' | cat - "$TMP/other.conf" >"$TMP/other2.conf"
reproduce table1 --conf="$TMP/other2.conf" --work="$TMP/w2" --out="$TMP/res2" || fail "another tower, encoded: $(tail -3 "$TMP/err")"
same "$TMP/w/coined/pool-argmax/part-00000.h5" "$TMP/w2/coined/pool-argmax/part-00000.h5" "a pool encoded anew"
same <(grep ^coined "$TMP/res/table1.csv") <(grep ^coined "$TMP/res2/table1.csv") "table 1 of a pool encoded anew"

# the same from tars that were downloaded: the list of URLs is written, pictures are joined back by id
sed -e "s|^pool_root.*|pool_tars = world/pictures/*.tar|" -e "s|^index .*|&\npool_urls = urls.tsv|" "$TMP/other2.conf" >"$TMP/other3.conf"
rm -rf "$TMP"/w2/{,records/}coined/{recalled,encoded,pool,primed}*
reproduce table1 --conf="$TMP/other3.conf" --work="$TMP/w2" --out="$TMP/res2" || fail "another tower, joined: $(tail -3 "$TMP/err")"
same "$TMP/w/coined/pool-argmax/part-00000.h5" "$TMP/w2/coined/pool-argmax/part-00000.h5" "a pool joined back"
[ "$(grep -c '^http' "$TMP/urls.tsv")" = "$(sed -n 's/^result.pool_rows=//p' "$TMP/w2/records/coined/recalled.txt")" ] || fail "urls.tsv: $(head -2 "$TMP/urls.tsv")"

# a pool that is there already; a changed filter makes the pool and its heads anew, and nothing else
sed -e "s|^index_images.*|pool = w/coined/pool-argmax|" "$CONF" >"$TMP/pool.conf"
reproduce table1 --conf="$TMP/pool.conf" --work="$TMP/w2" --out="$TMP/res3" || fail "a pool as given: $(tail -3 "$TMP/err")"
same <(grep '^coined,priming,.*top1' "$TMP/res/table1.csv" | cut -d, -f8-17) <(grep '^coined,priming,.*top1' "$TMP/res3/table1.csv" | cut -d, -f8-17) \
    "priming with a given pool"
sed -e 's|^per_class.*|per_class = 2|' "$CONF" >"$TMP/two.conf"
reproduce table1 --conf="$TMP/two.conf" --work="$TMP/w" --out="$TMP/res3" || fail "another cap: $(tail -3 "$TMP/err")"
[ "$(steps | cut -d' ' -f1)" = 14 ] || fail "another cap ran $(steps): $(cat "$TMP/err")"

# wrong files: CODE WORDS SED
wrong() {
    local got=0
    sed -e "$3" "$CONF" >"$TMP/wrong.conf"
    reproduce table1 --conf="$TMP/wrong.conf" --work="$TMP/w4" --out="$TMP/res4" || got=$?
    [ "$got" = "$1" ] && grep -qF "wrong.conf: $2" "$TMP/err" || fail "wanted $1 \"$2\", got $got $(cat "$TMP/err")"
    [ ! -e "$TMP/w4/coined" ] || fail "something ran before \"$2\" was seen"
}
wrong 66 "line 19: val: no such file or folder: $TMP/world/coined/nowhere" 's|coined/val|coined/nowhere|'
wrong 66 "line 7: index_images: no file matches $TMP/world/nowhere" 's|world/pictures|world/nowhere|'
wrong 64 'line 12: unknown key "seed"' 's|^seeds|seed|'
wrong 64 "line 15: [coined] has no \"templates\"" '/^templates/s/^/# /'
wrong 64 'line 20: wanted [data set] or key = value, found "what is this"' 's|^shots =.*|what is this|'
wrong 64 "line 5: the variable NOWHERE of the environment is not set" 's|{WORLD}/templates|{NOWHERE}/templates|'
wrong 64 'line 25: base: wanted a data set of this file that has no base itself, found "none"' 's|^base.*|base = none|'
wrong 64 'line 13: "seeds" stands in line 12 already' 's|^sizes.*|seeds = 4|'
wrong 64 'line 10: filters: wanted none, argmax, argmaxP or topN, found "top"' 's|^filters.*|filters = none top|'
wrong 64 'line 21: filter_choices: wanted none, argmax, argmaxP or topN, found "all"' 's|^near_copy.*|filter_choices = argmax0.5 all|'
wrong 64 'line 21: filter: wanted none, argmax, argmaxP or topN, found "val"' 's|^near_copy.*|filter = val|'
wrong 66 "line 8: index: no set is $TMP/world" 's|^id_field.*|index = world|'
got=0
DATA=/nowhere reproduce table1 --conf="$ROOT/jobs/reproduce/datasets.conf.in" --work="$TMP/w4" --out="$TMP/res4" || got=$?
[ "$got" = 66 ] && grep -q "datasets.conf.in: line [0-9]*: folder: no such folder: /nowhere/lists/imagenet" "$TMP/err" || fail "datasets.conf.in: $got $(cat "$TMP/err")"

# on a cluster: a job per data set, the shifted one after its base, the tables after both; what is left runs as job steps
mkdir -p "$TMP/clone" "$TMP/fake" "$TMP/bin"
cp -r "$ROOT/slurm" "$ROOT/jobs" "$ROOT/results" "$TMP/clone/"
cat "$ROOT"/slurm/site.sh.in "$ROOT"/slurm/site-world.sh.in - >"$TMP/clone/slurm/site.sh" <<<"NPR_BIN=$TMP/bin NPR_WORK='$TMP/a work' NPR_CORES_PER_RANK=1"
for program in "$BIN"/npr-*; do [ ! -x "$program" ] || ln -s "$program" "$TMP/bin/"; done
# shellcheck disable=SC2016 # they expand their variables themselves
{
    printf '%s\n' '#!/bin/bash' 'while [[ $1 == --* ]]; do shift; done' 'echo "$*" >>"$NOTES"' 'exec "$@"' >"$TMP/fake/srun"
    printf '%s\n' '#!/bin/bash' 'echo "$*" >>"$NOTES"' 'kill "$PPID"' >"$TMP/fake/scontrol"
    printf '%s\n' '#!/bin/bash' 'echo "sbatch $*" >>"$NOTES"' 'grep -c ^sbatch "$NOTES"' 'while [[ $1 == --* ]]; do shift; done' \
        'NPR_SLURM=$CLONE/slurm SLURM_JOB_ID=7 bash "$@" >"$NOTES.log" 2>&1 || echo "ended with $?" >>"$NOTES"' >"$TMP/fake/sbatch"
}
chmod +x "$TMP"/fake/*
export NOTES=$TMP/notes CLONE=$TMP/clone
cluster() {
    rm -f "$TMP/w/records/coined/primed-argmax.key" "$NOTES"
    PATH=$TMP/fake:$TMP/undrawn:$PATH timeout 500 bash "$CLONE/slurm/reproduce.sh" "$@" --work="$TMP/w" >"$TMP/out" 2>"$TMP/err" ||
        fail "slurm/reproduce.sh ended with $?: $(cat "$TMP/err")"
}
cluster table1 --conf="$TMP/two.conf" --out="$TMP/res5"
[ "$(tr '\n' ' ' <"$TMP/out")" = "coined 1 sketch 2 tables 3 " ] || fail "jobs: $(cat "$TMP/out" "$TMP/err")"
grep -q -- '--job-name=npr-reproduce-sketch --dependency=afterok:1 ' "$NOTES" && grep -q -- '-tables --dependency=afterok:[12]:[12] .*--nodes=1' "$NOTES" ||
    fail "dependencies: $(cat "$NOTES")"
[ "$(grep -c "^$TMP/bin/npr-" "$NOTES")" = 1 ] && grep -q "^$TMP/bin/npr-solve --record=$TMP/w/records/coined/primed-argmax.txt.new " "$NOTES" ||
    fail "job steps: $(cat "$NOTES" "$NOTES.log")"
same "$TMP/res3/table1.csv" "$TMP/res5/table1.csv" "table 1 made on a cluster"
rm "$TMP/bin/npr-solve"
printf '%s\n' '#!/bin/bash' 'exit 75' >"$TMP/bin/npr-solve"
chmod +x "$TMP/bin/npr-solve"
cluster table1 --conf="$TMP/two.conf" --out="$TMP/res5"
grep -q "requeue 7" "$NOTES" || fail "a data set that stopped early is not queued again: $(cat "$NOTES" "$NOTES.log")"
done_with reproduce
