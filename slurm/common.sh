# common.sh - what the sbatch scripts share: run one program as a job step, pass on the warning before the time limit,
# queue again what stopped early. Sourced by *.sbatch and pipeline.sh; reads site.sh.
# shellcheck shell=bash

NPR_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

npr_say() { echo "$(date '+%F %T') ${SLURM_JOB_NAME:-slurm} ${SLURM_JOB_ID:-}: $*" >&2; }

npr_fail() {
    local code=$1
    shift
    npr_say "$*"
    exit "$code"
}

[ -e "$NPR_ROOT/slurm/site.sh" ] || npr_fail 78 "$NPR_ROOT/slurm/site.sh is missing: copy slurm/site.sh.in and edit it"
# shellcheck source=slurm/site.sh.in
source "$NPR_ROOT/slurm/site.sh"

# What each exit code of a program means for the job.
npr_meaning() {
    case $1 in
    64) echo "the options are wrong" ;;
    65) echo "input is damaged or malformed" ;;
    66) echo "input is missing" ;;
    70) echo "out of memory, a library failed, or no rank made progress (the watchdog names the phases)" ;;
    73) echo "output cannot be created, or belongs to another command" ;;
    74) echo "reading or writing failed, or the disk is full" ;;
    78) echo "environment or sets do not fit together" ;;
    2 | 12[67]) echo "the program could not be started: is NPR_BIN in site.sh right, and does npr_modules load its libraries?" ;;
    137 | 143) echo "it was killed: out of memory, or scancel" ;;
    *) echo "see the lines above" ;;
    esac
}

# npr_launch PROGRAM ARGS...: as a job step over all tasks of the job. One lost rank ends the step (-K1), else the others
# would wait for it until the time limit.
# Slurm 22.05's default fence of PMIx ("mixed") now and then lets a rank out of MPI_Init before another is ready to be
# sent to, which then crashes (Open MPI 4.1.4: 9 of 54 starts of four tasks on one busy host; with "tree" none).
npr_launch() {
    export SLURM_PMIX_FENCE=${SLURM_PMIX_FENCE:-tree}
    case $NPR_LAUNCHER in
    srun) exec srun --mpi="$NPR_MPI" --kill-on-bad-exit=1 --cpus-per-task="$NPR_CORES_PER_RANK" "$@" ;;
    mpirun) exec mpirun --map-by "slot:PE=$NPR_CORES_PER_RANK" "$@" ;;
    *) npr_fail 78 "NPR_LAUNCHER in site.sh is \"$NPR_LAUNCHER\"; wanted srun or mpirun" ;;
    esac
}

NPR_ASKED=0 # 1: asked to stop, which a script of several steps must look at before the next one

# npr_step PROGRAM ARGS...: launch it and wait; USR1 (sent by Slurm before the time limit) and TERM go to the step as
# USR1, on which programs finish what they have in hand and leave with 75. Gives the program's exit code.
npr_step() {
    local code=0
    export NPR_VERDICT=$NPR_WORK/records/stuck-$SLURM_JOB_ID.txt # the watchdog's
    rm -f "$NPR_VERDICT"
    npr_launch "$NPR_BIN/$1" "${@:2}" &
    step=$!
    trap 'NPR_ASKED=1; npr_say "asked to stop: passing it on"; kill -USR1 "$step"' USR1 TERM
    while :; do
        code=0
        wait "$step" || code=$?
        kill -0 "$step" 2>/dev/null || break # else only a trap ended the wait
    done
    trap - TERM
    trap 'NPR_ASKED=1' USR1 # a warning that comes now must not end this script: what the step's end means is still to be said
    [ ! -s "$NPR_VERDICT" ] || code=70
    if ((NPR_ASKED && (code == 138 || code == 143))); then
        code=75 # the signal came before the program was ready for it: nothing is lost either
    fi
    return "$code"
}

# npr_holder ARGS...: a running job that writes the set of --out= or --set=. The programs hold a kernel lock on it; this
# second look is for file systems whose locks do not reach other nodes (Lustre's localflock, some NFS). Prints its number.
npr_holder() {
    local arg lock job
    for arg in "$@"; do
        [[ $arg =~ ^--(out|set)=(.*) ]] || continue
        for lock in "${BASH_REMATCH[2]}"/.{work,index}/lock; do
            [ -r "$lock" ] || continue
            job=$(sed -n 's/.*, job \([0-9]*\)$/\1/p' "$lock")
            if [ -z "$job" ] || [ "$job" = "${SLURM_JOB_ID:-}" ]; then continue; fi
            if [ "$(squeue -h -o %T -j "$job" 2>/dev/null)" = RUNNING ]; then echo "$job"; fi
        done
    done
}

# npr_wait_for_node: a rank was killed. If every node of the job still answers, give back 0: it was not a node (memory,
# mostly). Else wait: Slurm notices and queues the job again; if it does not, we do.
npr_wait_for_node() {
    timeout 60 srun --overlap --quiet --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" \
        --ntasks-per-node=1 --cpus-per-task=1 true 2>/dev/null && return
    npr_say "a node does not answer: waiting for Slurm to queue this job again"
    sleep "$NPR_NODE_WAIT"
    npr_requeue "Slurm still counts on it"
}

# npr_requeue WHY: does not return.
npr_requeue() {
    npr_say "$1; queueing the job again"
    scontrol requeue "$SLURM_JOB_ID" || npr_fail 75 "cannot requeue: submit the stage again to go on"
    sleep 600 # Slurm ends this script
    exit 75
}

# npr_make_work: the folder of all results; on Lustre with the stripes of site.sh, which what is made in it inherits.
npr_make_work() {
    [ -d "$NPR_WORK" ] || {
        mkdir -p "$NPR_WORK" || npr_fail 73 "cannot make $NPR_WORK"
        if ((${#NPR_STRIPES[@]})) && command -v lfs >/dev/null && lfs getstripe -d "$NPR_WORK" >/dev/null 2>&1; then
            lfs setstripe "${NPR_STRIPES[@]}" "$NPR_WORK" ||
                npr_say "lfs setstripe ${NPR_STRIPES[*]} $NPR_WORK failed: the default stripes stay"
        fi
    }
    mkdir -p "$NPR_WORK/records" "$NPR_WORK/logs" || npr_fail 73 "cannot make folders in $NPR_WORK"
}

# npr_stage NAME PROGRAM ARGS...: run a stage of the pipeline and act on how it ended.
npr_stage() {
    local name=$1 program=$2 code=0 start=$SECONDS holder
    shift 2
    npr_modules
    export OMP_NUM_THREADS=$NPR_CORES_PER_RANK
    npr_make_work
    holder=$(npr_holder "$@")
    [ -z "$holder" ] || npr_fail 73 "$name: its output is being written by job $holder; this job leaves it alone"
    npr_say "$program on ${SLURM_NTASKS:-?} ranks of ${SLURM_JOB_NUM_NODES:-?} nodes (${SLURM_JOB_NODELIST:-?})," \
        "restart ${SLURM_RESTART_COUNT:-0}"
    npr_step "$program" --record="$NPR_WORK/records/$name.txt" --watchdog="$NPR_WATCHDOG" "$@" || code=$?
    # Right after a restart a node may still hold ports and files of the step before; that shows at once, and once.
    if [[ $code =~ ^(1|137|143)$ ]] && [ "${SLURM_RESTART_COUNT:-0}" -gt 0 ] && [ $((SECONDS - start)) -lt 30 ]; then
        npr_say "the step did not start; trying once more"
        sleep 5
        code=0
        npr_step "$program" --record="$NPR_WORK/records/$name.txt" --watchdog="$NPR_WATCHDOG" "$@" || code=$?
    fi
    case $code in
    137 | 139) npr_wait_for_node ;;
    esac
    case $code in
    0) npr_say "$name is done after $((SECONDS - start)) s; its record is $NPR_WORK/records/$name.txt" ;;
    75) npr_requeue "$name stopped early, finished work is kept" ;;
    *) npr_fail "$code" "$name failed with exit code $code: $(npr_meaning "$code"); stages that wait for it will not run" ;;
    esac
}

# npr_submit OPTIONS... SCRIPT [ARGS...]: queue a script with the nodes, ranks, time, account and partition of site.sh. Prints the job's number.
npr_submit() {
    local common=(--parsable --nodes="$NPR_NODES" --ntasks-per-node="$NPR_RANKS_PER_NODE" --cpus-per-task="$NPR_CORES_PER_RANK"
        --time="$NPR_TIME" --output="$NPR_WORK/logs/%x-%j.log" --export="ALL,NPR_SLURM=$NPR_ROOT/slurm") job
    [ -z "$NPR_ACCOUNT" ] || common+=(--account="$NPR_ACCOUNT")
    [ -z "$NPR_PARTITION" ] || common+=(--partition="$NPR_PARTITION")
    job=$(sbatch "${common[@]}" "${NPR_SBATCH[@]}" "$@") || return
    echo "${job%%;*}" # --parsable adds the cluster's name where there are several
}
