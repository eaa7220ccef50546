#!/bin/bash
# npr-bench --what=extract in small, on a tiny model: every number is there; a peer is asked for the same work, and what it does
# wrong is said. open_clip is the peer where it is installed (NPR_ORACLES=1: made for it).
# shellcheck source=tests/lib.sh
source "$(dirname "$0")/../lib.sh"
tiny=(npr-bench --what=extract --config="${NPR_SOURCE:?}/tests/data/tiny_clip_gelu.json" --repeats=2)
cd "$TMP"

numbers() { # numbers FILE KEY...: each is there once, and more than 0
    local file=$1 key
    shift
    for key in "$@"; do
        awk -F= -v key="bench.$key" '$1 == key && $2 > 0 { n++ } END { exit n != 1 }' "$file" || fail "bench.$key: $(cat "$file")"
    done
}

ours=({decode,fast_decode,vit}.images_per_s.{median,best} {sgemm,vit}.gflops.{median,best} vit.share_of_sgemm.{median,best})
theirs=(peer_{decode,vit}.images_per_s.{median,best} {decode,vit}.ratio_to_peer.{median,best})
must 2 "${tiny[@]}" --threads=2 --record=bench.txt
numbers bench.txt "${ours[@]}"

# in bfloat16: its product too; where the CPU has none, the same program with an emulation in oneDNN's place, whose speed says nothing
if grep -q avx512_bf16 /proc/cpuinfo; then bench=npr-bench; else bench=tests/emulated-npr-bench; fi
must 1 "$bench" "${tiny[@]:1}" --threads=2 --precision=bf16 --record=bf16.txt
numbers bf16.txt "${ours[@]}" bf16_gemm.gflops.{median,best} vit.share_of_bf16_gemm.{median,best}
awk -F= '{ v[$1] = $2 } END { r = v["bench.vit.gflops.best"] / v["bench.bf16_gemm.gflops.best"] / v["bench.vit.share_of_bf16_gemm.best"]
    exit !(r > 0.999 && r < 1.001) }' bf16.txt || fail "the share is not that of the two rates: $(cat bf16.txt)"
grep -q bf16_gemm bench.txt && fail "fp32 has no product in bfloat16"
[ "$bench" = npr-bench ] || expect 78 "bfloat16 needs" 1 "${tiny[@]}" --precision=bf16

# a peer that keeps to the protocol, and writes down what it was asked for
cat >peer.sh <<'PEER'
echo ready
while read -r what n rest; do
    echo "$what $n $rest" >>asked.txt
    [ "$what" != jpeg ] || head -c "$n" >>jpegs
    echo 0.5
done
PEER
must 1 "${tiny[@]}" --peer="bash peer.sh" --record=peer.txt
numbers peer.txt "${ours[@]}" "${theirs[@]}"
grep -qE '^model .*tiny_clip_gelu.json [0-9]+ 1$' asked.txt || fail "the model: $(head -1 asked.txt)"
[ "$(grep -c '^jpeg' asked.txt)" = 16 ] || fail "pictures: $(grep -c '^jpeg' asked.txt)"
[ "$(awk '$1 == "jpeg" { n += $2 } END { print n }' asked.txt)" = "$(wc -c <jpegs)" ] || fail "pictures were cut"
[ "$(grep -cE '^(decode 32|vit 2) ' asked.txt)" = 6 ] || fail "turns: $(cat asked.txt)"
grep -qx bench.peer_decode.images_per_s.median=64 peer.txt || fail "32 pictures in half a second: $(grep peer_decode peer.txt)"

expect 78 "ended or fell silent before it was ready" 1 "${tiny[@]}" --peer="exit 1"
expect 78 'answers "soon" to "model' 1 "${tiny[@]}" --peer="echo ready; read -r x; echo soon; read -r x"

if python=$(bash "$NPR_SOURCE/tests/oracles.sh" --print 2>/dev/null); then
    must 1 "${tiny[@]}" --peer="$python '$NPR_SOURCE/jobs/openclip_peer.py'" --record=openclip.txt
    numbers openclip.txt "${ours[@]}" "${theirs[@]}"
fi
done_with bench
