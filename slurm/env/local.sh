# local.sh - one machine without a batch system: what jobs/quickstart.sh and tests/run.sh share. Source it.
# shellcheck shell=bash

NPR_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

# Open MPI on one machine that is shared and may have fewer cores than ranks, also as root in a container: more ranks
# than cores, not bound to them, giving way while they wait; shared memory by plain copies (containers may forbid more).
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_mpi_yield_when_idle=1
export OMPI_MCA_pml=ob1 OMPI_MCA_btl=self,vader OMPI_MCA_btl_vader_single_copy_mechanism=none
export OMPI_MCA_btl_base_warn_component_unused=0
# Threads that wait sleep: spinning ones starve the ranks they wait for when ranks and threads outnumber the cores.
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}

# How one rank runs without mpirun. Open MPI would start a daemon for it, in case it starts others, and make a folder for their
# files: twice the processor time of the start itself. The folder goes with the daemon: it would be one for all such processes,
# made and removed under one another.
# shellcheck disable=SC2034 # for those who source this
NPR_ALONE=(env OMPI_MCA_ess_singleton_isolated=1 OMPI_MCA_orte_create_session_dirs=0)

# npr_die CODE WORDS...: say it and leave.
npr_die() {
    local code=$1
    shift
    echo "${0##*/}: $*" >&2
    exit "$code"
}

# npr_whole NAME...: are these variables whole numbers of at least 1?
npr_whole() {
    local name
    for name in "$@"; do
        [[ ${!name} =~ ^[1-9][0-9]*$ ]] || npr_die 64 "$name=${!name}: wanted a whole number of at least 1"
    done
}

# npr_programs FOLDER NAME: does the folder hold npr's programs? The variable NAME says which it is.
npr_programs() {
    [ -x "$1/npr-search" ] || npr_die 78 "$1 has no npr-search: build npr, or say in $2 where its programs are"
}

# npr_prepare [--tests]: install what is missing (Debian 12) and set FAISS_ROOT. With FAISS_ROOT set already, everything
# is taken to be there: that is the way for other systems.
npr_prepare() {
    [ -z "${FAISS_ROOT:-}" ] || return 0
    local found
    found=$(bash "$NPR_ROOT/slurm/env/debian.sh" "$@") || npr_die $? "setting up this machine failed: see above"
    FAISS_ROOT=${found##*FAISS_ROOT=}
}

# npr_build FOLDER CMAKE-OPTIONS...: configure and build with all cores; quiet unless it fails.
npr_build() {
    local folder=$1 log=$1/build.log
    shift
    mkdir -p "$folder"
    local first=()
    if [ ! -e "$folder/CMakeCache.txt" ]; then
        ! command -v ninja >/dev/null || first+=(-G Ninja)
        # ld looks through the libraries of the libraries: 1 s for a program of ours, where gold takes 0.15
        ! "${CC:-cc}" -fuse-ld=gold -x c -o /dev/null - <<<'int main(void) { return 0; }' 2>/dev/null ||
            first+=("-DCMAKE_EXE_LINKER_FLAGS=-fuse-ld=gold${LDFLAGS:+ $LDFLAGS}")
    fi
    if ! { cmake -S "$NPR_ROOT" -B "$folder" "${first[@]}" -DFAISS_ROOT="$FAISS_ROOT" "$@" &&
        cmake --build "$folder" --parallel "$(nproc)"; } >"$log" 2>&1; then
        tail -n 30 "$log" >&2
        npr_die 78 "the build failed; all of its words are in $log"
    fi
}
