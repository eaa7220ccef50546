# lib_simgrid.sh - build and run the collectives of npr on a described platform. Source it; needs libsimgrid-dev.
# shellcheck shell=bash

# simgrid_build SOURCE FOLDER: FOLDER/merge and FOLDER/counter, from the project's own sources
simgrid_build() {
    local source=$1 folder=$2 flags base
    flags=(-O2 -std=gnu11 -D_GNU_SOURCE -DNDEBUG -I"$source/include" -I"$source/src")
    base=("$source"/src/par/{comm,log,watchdog,beat,verdict}.c "$source"/src/base/{mem,status,rng}.c -lm)
    smpicc "${flags[@]}" -DMPI_Iallreduce=npr_smpi_iallreduce -o "$folder/merge" "$source/tests/simgrid/merge_mpi.c" "$source"/src/search/{topk,topk_mpi}.c "${base[@]}"
    smpicc "${flags[@]}" -DMPI_Test=npr_smpi_test -o "$folder/counter" "$source/tests/simgrid/counter_mpi.c" "$source/src/par/counter.c" "${base[@]}"
}

# simgrid_platform NETWORK GBIT NODES: a description on standard output. 1 us per link is 3 to 5 us between far nodes.
# fattree: two levels, 32 nodes on a switch, 16 up-links of twice the speed (full bisection). dragonfly: groups of 4 x 16 routers.
simgrid_platform() {
    local bytes
    bytes=$(awk -v g="$2" 'BEGIN { printf "%.3fGBps", g / 8 }')
    local head='<?xml version="1.0"?><!DOCTYPE platform SYSTEM "https://simgrid.org/simgrid.dtd"><platform version="4.1">'
    local common="prefix=\"n\" suffix=\"\" speed=\"100Gf\" bw=\"$bytes\" lat=\"1us\" sharing_policy=\"SPLITDUPLEX\""
    case $1 in
    fattree) echo "$head<cluster id=\"c\" radical=\"0-1023\" $common topology=\"FAT_TREE\" topo_parameters=\"2;32,32;1,16;1,2\"/></platform>" ;;
    dragonfly) echo "$head<cluster id=\"c\" radical=\"0-1023\" $common topology=\"DRAGONFLY\" topo_parameters=\"8,3;4,2;16,2;2\"/></platform>" ;;
    esac
}

# simgrid_run FOLDER RANKS PROGRAM ARGS...: the line that merge or counter prints. Open MPI's choice of algorithms. Messages take what latency and bandwidth
# say: SMPI's own factors by size, measured on Gigabit Ethernet, are switched off. SMPI broadcasts the number of each new communicator, and for Open MPI's
# way of doing that on 256 ranks and more it first sends 2 ranks^2 messages: counter, which broadcasts nothing itself, takes a plain tree.
simgrid_run() {
    local folder=$1 ranks=$2 program=$3 more=()
    shift 3
    [ "$program" != counter ] || more=(--cfg=smpi/bcast:binomial_tree)
    seq 0 $((ranks - 1)) | sed 's/^/n/' >"$folder/hosts"
    smpirun -np "$ranks" -hostfile "$folder/hosts" -platform "$folder/platform.xml" --cfg=smpi/simulate-computation:no \
        --cfg=smpi/test:0 --cfg=smpi/bw-factor:0:1 --cfg=smpi/lat-factor:0:1 --cfg=smpi/coll-selector:ompi --cfg=smpi/host-speed:100Gf "${more[@]}" --log=root.thres:critical "$folder/$program" "$@"
}
