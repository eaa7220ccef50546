#!/bin/bash
# npr-bench's class sums and transductive filter run, and say what they measure against.
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
must 1 npr-bench --what=transductive --rows=2000 --images=30 --dim=64 --k=10
for key in kept seconds gflop_per_s share_of_sgemm peak_memory_gib; do number "transductive.$key"; done
kept=$(sed -n 's/^bench.transductive.kept=//p' out)
{ [ "$kept" -gt 10 ] && [ "$kept" -le 300 ]; } || fail "30 images kept $kept rows"
done_with bench
