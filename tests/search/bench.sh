#!/bin/bash
# npr-bench in small: every number is there, FAISS and we name the same rows, and nonsense is refused.
# shellcheck source=tests/lib.sh
source "$(dirname "$0")/../lib.sh"
cd "$TMP"

must 1 npr-bench --rows=5000 --dim=64 --k=20 --queries=1,3,40 --repeats=2 --record=bench.txt
for nq in 1 3 40; do
    grep -qx "bench.nq$nq.differences=0" bench.txt || fail "FAISS names other rows: $(grep "nq$nq" bench.txt)"
    for key in ours_ms_per_query faiss_ms_per_query ratio share_of_bandwidth share_of_sgemm; do
        awk -F= -v key="bench.nq$nq.$key" '$1 == key && $2 > 0 { n++ } END { exit n != 1 }' bench.txt ||
            fail "bench.nq$nq.$key: $(grep "$key" bench.txt)"
    done
done
# one screen for all: any CPU has gemm, and no CPU of today has all of them
must 1 npr-bench --rows=2000 --dim=33 --k=5 --queries=2,20 --repeats=1 --screen=gemm --record=gemm.txt
[ "$(grep -c '^bench.nq[0-9]*.screen=gemm$' gemm.txt)" = 2 ] || fail "not by gemm: $(grep screen gemm.txt)"
grep -qx bench.nq20.differences=0 gemm.txt || fail "gemm finds other rows"
expect 64 "there is no screen \"amx\"; there are block-amx, few-avx512" 1 npr-bench --rows=100 --dim=8 --screen=amx
for name in block-amx few-avx512 block-bf16 block-f32 few-avx2 few-bytes block-bytes block-avx2; do
    code=0
    "$BIN/npr-bench" --rows=500 --dim=40 --k=3 --queries=1,40 --repeats=1 --screen=$name --record=named.txt >said 2>&1 || code=$?
    if ((code == 0)); then
        [ "$(grep -cx -e bench.nq40.differences=0 -e "bench.nq1.screen=$name" named.txt)" = 2 ] || fail "$name: $(grep bench.nq named.txt)"
    else
        [[ $code == 78 ]] && grep -q "this CPU cannot run the screen $name" said || fail "$name: $code $(cat said)"
    fi
done
expect 64 "wanted numbers such as 1,10,100" 2 npr-bench --rows=100 --dim=8 --queries=1,x
expect 64 "needs --captions=FILE and --names=FILE" 2 npr-bench --what=captions --names=bench.txt
for what in search calibrate; do
    expect 64 "npr-bench has no plan to print" 2 npr-bench --what=$what --rows=100 --dim=8 --scratch=scratch --dry-run
    [ ! -e scratch ] || fail "--what=$what --dry-run made $(find scratch)"
done

# the tables and pictures of results/ come from such records
if command -v gnuplot >/dev/null; then
    mkdir results
    cp "${NPR_SOURCE:?}"/results/{plot,draw}.sh results/
    code=0
    bash results/plot.sh >said 2>&1 || code=$?
    [[ $code == 66 ]] && grep -q "no record" said || fail "plot.sh without records: $code $(cat said)"
    for i in 1 2 3; do sed "s/^\(bench.nq3.ratio\)=.*/\1=$((7 * i * i))/" bench.txt >"results/search-$i.txt"; done
    bash results/plot.sh >said 2>&1 || fail "plot.sh: $(cat said)"
    [ "$(cut -d, -f1,2,5 results/search.csv | sed -n 3p)" = 3,3,28 ] || fail "the median: $(cat results/search.csv)"
    [ -s results/search.svg ] && [ -s results/search.png ] || fail "no picture: $(cat said)"
    sed -i 's/^option.k=.*/option.k=21/' results/search-2.txt
    bash results/plot.sh >said 2>&1 && fail "records of different options are mixed: $(cat said)"
else
    echo "plot.sh is not tried: gnuplot is missing" >&2
fi
done_with bench
