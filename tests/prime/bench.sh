#!/bin/bash
# npr-bench's class sums, transductive filter and linear probe run, and say what they measure against; scikit-learn is the
# probe's peer where it is installed (tests/oracles.sh --sklearn).
# shellcheck source=tests/lib.sh
source "$(dirname "$0")/../lib.sh"
cd "$TMP"

number() { # KEY: its value is a number above 0
    grep -Eq "^bench\.$1=[0-9.e+-]*[1-9]" out || fail "no number for $1: $(grep "$1" out)"
}
must 2 npr-bench --what=means --rows=3001 --dim=70 --classes=9 --threads=2 --repeats=3
number means.read_gb_per_s
for order in random sorted; do
    for key in ms gb_per_s share_of_bandwidth; do number "means.$order.$key"; done
done
number means.loo.gflops
must 1 npr-bench --what=transductive --rows=2000 --images=30 --dim=64 --k=10
for key in kept seconds gflop_per_s share_of_sgemm peak_memory_gib; do number "transductive.$key"; done
kept=$(sed -n 's/^bench.transductive.kept=//p' out)
{ [ "$kept" -gt 10 ] && [ "$kept" -le 300 ]; } || fail "30 images kept $kept rows"

# the probe: a peer that keeps to the protocol and writes down what it was asked for
probe=(npr-bench --what=probe --rows=2001 --dim=64 --classes=9 --repeats=2)
must 3 "${probe[@]}" --threads=2
for key in seconds top1; do number "probe.$key"; done
cat >peer.sh <<'PEER'
echo ready
while read -r what n rest; do
    echo "$what $n $rest" >>asked.txt
    case $what in
    rows | labels | test_rows | test_labels | head) head -c "$n" >>"$what.bin" ;;
    esac
    echo 50
done
PEER
must 1 "${probe[@]}" --peer="bash peer.sh"
[ "$(wc -c <rows.bin) $(wc -c <labels.bin) $(wc -c <test_rows.bin) $(wc -c <head.bin)" = "256128 8004 640000 2304" ] || fail "bytes: $(ls -l ./*.bin)"
[ "$(grep -cE '^fit float(32|64) 0.00049975' asked.txt)" = 4 ] || fail "turns: $(cat asked.txt)"
grep -qx bench.probe.peer_float64.seconds=50 out || fail "the peer's seconds: $(cat out)"
expect 78 "ended or fell silent before it answered" 1 "${probe[@]}" --peer="echo ready; read -r x"
expect 64 "--peer: wanted 3 classes or more, found 2" 1 npr-bench --what=probe --rows=100 --dim=16 --classes=2 --peer="bash peer.sh"
if python=$(bash "$NPR_SOURCE/tests/oracles.sh" --print --sklearn 2>/dev/null); then
    must 1 "${probe[@]}" --peer="$python '$NPR_SOURCE/jobs/sklearn_peer.py'"
    for whose in ours peer_float32 peer_float64; do
        for key in loss accuracy; do number "probe.$whose.$key"; done
    done
    value() { sed -n "s/^$1=//p" out; }
    awk -v a="$(value bench.probe.ours.loss)" -v b="$(value bench.probe.peer_float64.loss)" -v r="$(value result.training.loss)" \
        'BEGIN { exit !(a - b < 1e-6 && b - a < 1e-6 && a - r < 1e-6 && r - a < 1e-6) }' || fail "losses differ: $(grep loss out)"
    awk -v a="$(value bench.probe.ours.accuracy)" -v b="$(value bench.probe.top1)" 'BEGIN { exit !(a - b < 0.0005 && b - a < 0.0005) }' ||
        fail "the peer finds another accuracy of our head: $(cat out)"
fi
done_with bench
