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
    137 | 143) echo "it was killed: out of memory, a lost node, or scancel" ;;
    *) echo "see the lines above" ;;
    esac
}

# npr_launch PROGRAM ARGS...: as a job step over all tasks of the job. One lost rank ends the step (-K1), else the others
# would wait for it until the time limit.
npr_launch() {
    case $NPR_LAUNCHER in
    srun) exec srun --mpi="$NPR_MPI" --kill-on-bad-exit=1 --cpus-per-task="$NPR_CORES_PER_RANK" "$@" ;;
    mpirun) exec mpirun --map-by "slot:PE=$NPR_CORES_PER_RANK" "$@" ;;
    *) npr_fail 78 "NPR_LAUNCHER in site.sh is \"$NPR_LAUNCHER\"; wanted srun or mpirun" ;;
    esac
}

# npr_step PROGRAM ARGS...: launch it and wait; USR1 (sent by Slurm before the time limit) and TERM go to the step as
# USR1, on which programs finish what they have in hand and leave with 75. Gives the program's exit code.
npr_step() {
    local code=0
    npr_launch "$NPR_BIN/$1" "${@:2}" &
    step=$!
    trap 'npr_say "asked to stop: passing it on"; kill -USR1 "$step"' USR1 TERM
    while :; do
        code=0
        wait "$step" || code=$?
        kill -0 "$step" 2>/dev/null || break # else only a trap ended the wait
    done
    trap - USR1 TERM
    return "$code"
}

# npr_stage NAME PROGRAM ARGS...: run a stage of the pipeline and act on how it ended.
npr_stage() {
    local name=$1 program=$2 code=0 start=$SECONDS
    shift 2
    npr_modules
    export OMP_NUM_THREADS=$NPR_CORES_PER_RANK
    mkdir -p "$NPR_WORK/records" || npr_fail 73 "cannot make $NPR_WORK/records"
    npr_say "$program on ${SLURM_NTASKS:-?} ranks of ${SLURM_JOB_NUM_NODES:-?} nodes (${SLURM_JOB_NODELIST:-?})," \
        "restart ${SLURM_RESTART_COUNT:-0}"
    npr_step "$program" --record="$NPR_WORK/records/$name.txt" --watchdog="$NPR_WATCHDOG" "$@" || code=$?
    # Right after a restart the ports of the step before may still be taken; that shows at once, and once.
    if [ "$code" = 1 ] && [ "${SLURM_RESTART_COUNT:-0}" -gt 0 ] && [ $((SECONDS - start)) -lt 30 ]; then
        npr_say "the step did not start; trying once more"
        sleep 10
        code=0
        npr_step "$program" --record="$NPR_WORK/records/$name.txt" --watchdog="$NPR_WATCHDOG" "$@" || code=$?
    fi
    case $code in
    0) npr_say "$name is done after $((SECONDS - start)) s; its record is $NPR_WORK/records/$name.txt" ;;
    75)
        npr_say "$name stopped early, finished work is kept; queueing it again"
        scontrol requeue "$SLURM_JOB_ID" || npr_fail 75 "cannot requeue: submit the stage again to go on"
        sleep 600 # Slurm ends this script
        ;;
    *) npr_fail "$code" "$name failed with exit code $code: $(npr_meaning "$code"); stages that wait for it will not run" ;;
    esac
}
