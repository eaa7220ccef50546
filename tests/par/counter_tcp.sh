#!/bin/bash
# The counter over TCP, as between nodes: rank 0 must enter MPI for others to be served.
source "$(dirname "$0")/../lib.sh"
ompi_info 2>/dev/null | grep -q "MCA osc: pt2pt" || { echo "skipped: needs Open MPI with osc/pt2pt" && exit 77; }
export OMPI_MCA_btl=self,tcp OMPI_MCA_btl_tcp_if_include=lo OMPI_MCA_osc=pt2pt
for n in 2 3 5; do
    must "$n" tests/test_par_counter
done
done_with counter_tcp
