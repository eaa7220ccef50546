# common.sh - what the sbatch scripts share: run one program as a job step, pass on the warning before the time limit,
# queue again what stopped early. Sourced by *.sbatch and pipeline.sh; reads site.sh.
# shellcheck shell=bash

NPR_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
NPR_ASKED=0 # 1: asked to stop, which a script of several steps must look at before the next one
# What Slurm's commands call this job. The last task of an array has the number of the whole array, which would mean all its tasks.
NPR_JOB=${SLURM_JOB_ID:-}
[ -z "${SLURM_ARRAY_JOB_ID:-}" ] || NPR_JOB=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
[ -z "$NPR_JOB" ] || trap 'NPR_ASKED=1' USR1 # a warning before the first step must not end a job's script

# In a job's log as the programs' lines: the time of day, who speaks, and what.
npr_say() {
    local who=${0##*/}:
    # The time without a process: a signal that ends the processes of a job ends `date` too, and what waits for its words.
    [ -z "${SLURM_JOB_ID:-}" ] || printf -v who '%(%T)T job %s:' -1 "$SLURM_JOB_ID"
    echo "$who $*" >&2
}

npr_fail() {
    local code=$1
    shift
    npr_say "$*"
    exit "$code"
}

[ -e "$NPR_ROOT/slurm/site.sh" ] || npr_fail 78 "$NPR_ROOT/slurm/site.sh is missing: cat slurm/site.sh.in" \
    "slurm/site-laion.sh.in >slurm/site.sh, and edit it"
trap 'npr_fail 78 "$NPR_ROOT/slurm/site.sh ended before its last line: see above"' EXIT
# shellcheck source=slurm/site.sh.in
source "$NPR_ROOT/slurm/site.sh"
trap - EXIT
# A site.sh that was made before a name came in lacks it.
while IFS=: read -r npr_file npr_name; do
    declare -p "$npr_name" >/dev/null 2>&1 || npr_fail 78 "$NPR_ROOT/slurm/site.sh does not set $npr_name: $npr_file says what it is"
done < <(cd "$NPR_ROOT" && sed -n 's/^\(NPR_[A-Z_]*\)=.*/slurm\/site.sh.in:\1/p' slurm/site.sh.in &&
    sed -n 's/^\(NPR_[A-Z_]*\)=.*/slurm\/site-laion.sh.in:\1/p' slurm/site-laion.sh.in)
unset npr_file npr_name

# What each exit code of a program means for the job, and what is to be done.
npr_meaning() {
    case $1 in
    64) echo "the options are wrong; correct them in site.sh" ;;
    65) echo "input is damaged or malformed; npr-verify says which parts of a set are" ;;
    66) echo "input is missing" ;;
    70) echo "out of memory, a library failed, or no rank made progress (the watchdog names the phases)" ;;
    73) echo "output cannot be created, or belongs to another command" ;;
    74) echo "reading or writing failed, or the disk is full" ;;
    78) echo "environment or sets do not fit together" ;;
    2 | 12[67]) echo "the program could not be started: is NPR_BIN in site.sh right, and does npr_modules load its libraries?" ;;
    233) echo "a node could not be reached when the step began" ;;
    137 | 143) echo "it was killed: too little memory, mostly (npr-plan, or run.peak_bytes_per_rank of an earlier record)" ;;
    *) echo "see the lines above" ;;
    esac
}

# npr_load: npr_modules of site.sh, which need not be written for what our scripts have set: a variable that is not there, or a command that
# fails, ends no job. The scripts' options come back.
npr_load() {
    local options=$-
    set +eu
    npr_modules >&2
    [[ $options != *e* ]] || set -e
    [[ $options != *u* ]] || set -u
}

# npr_count_tasks: ranks of a step, in the variable `tasks`: those of a node on all nodes that the job has now. A job that was queued again
# for another number of nodes may still be told its old number of tasks. Who gives sbatch a number of tasks (NPR_SBATCH) keeps it.
npr_count_tasks() {
    tasks=${SLURM_NTASKS:-}
    case " ${NPR_SBATCH[*]} " in *" --ntasks"[=\ ]* | *" -n"*) return ;; esac
    [ -z "${SLURM_JOB_NUM_NODES:-}" ] || [ -z "${SLURM_NTASKS_PER_NODE:-}" ] || tasks=$((SLURM_JOB_NUM_NODES * SLURM_NTASKS_PER_NODE))
}

# npr_launch PROGRAM ARGS...: as a job step over all tasks of the job. One lost rank ends the step (-K1), else the others
# would wait for it until the time limit.
# Slurm 22.05's default fence of PMIx ("mixed") now and then lets a rank out of MPI_Init before another is ready to be
# sent to, which then crashes (Open MPI 4.1.4: 9 of 54 starts of four tasks on one busy host; with "tree" none).
# Debian's Open MPI is told to leave out the only one-sided communication that works over TCP; npr-extract needs one.
npr_launch() {
    if [ -z "${OMPI_MCA_osc:-}" ] && grep -qs '^osc *= *^ucx,pt2pt' /etc/openmpi/openmpi-mca-params.conf; then
        export OMPI_MCA_osc=^ucx
    fi
    export SLURM_PMIX_FENCE=${SLURM_PMIX_FENCE:-tree}
    local tasks number=()
    npr_count_tasks
    [ -z "$tasks" ] || number=(-n "$tasks")
    case $NPR_LAUNCHER in
    srun) exec srun "${number[@]}" --mpi="$NPR_MPI" --kill-on-bad-exit=1 --cpus-per-task="$NPR_CORES_PER_RANK" "$@" ;;
    mpirun) exec mpirun "${number[@]}" --map-by "slot:PE=$NPR_CORES_PER_RANK" "$@" ;;
    *) npr_fail 78 "NPR_LAUNCHER in site.sh is \"$NPR_LAUNCHER\"; wanted srun or mpirun" ;;
    esac
}

# npr_readable: what a step says, line by line, without what srun says of tasks whose program has said more (its exit code is known)
# or that were ended because another had died, and with Open MPI's boxed warning of a lost peer in one line, once.
npr_readable() {
    trap '' USR1 TERM
    local line ending=0 box='' boxed=0 warned=0
    while IFS= read -r line || [ -n "$line" ]; do
        case $line in
        "srun: launch/slurm: _step_signal: Terminating "* | "srun: launch/slurm: launch_p_step_launch: "*" aborted "*) ending=1 && continue ;;
        "srun: Job step aborted: Waiting "* | "srun: got SIGCONT" | "srun: forcing job termination" | "srun: Force Terminated "*)
            continue
            ;;
        "srun: error: "*" Exited with exit code "[67][0-9]) continue ;;
        "srun: error: "*": task"*": "* | slurmstepd*" STEP "*" CANCELLED AT "*)
            if ((ending)) && [[ $line != *"DUE TO"* ]]; then continue; fi
            ;;
        -----------------------------------*)
            boxed=$((1 - boxed))
            if ((!boxed)) && [[ $box != *"failed to TCP connect to a peer"* && $box != *"peer process has unexpectedly disconnected"* ]]; then
                printf '%s\n' "$line" "$box$line" >&2
            elif ((!boxed && !warned)); then
                warned=1
                sed -n 's/^ *Message: *//p; s/^ *Error: */: /p; s/^ *Peer host: *//p' <<<"$box" | tr -d '\n' | sed 's/^/Open MPI: a peer is gone: /; s/$/\n/' >&2
            fi
            box=
            continue
            ;;
        *)
            if ((boxed)) && ! [[ $line =~ ^([0-9:]{8}\ )?npr-|^srun:|^slurmstepd ]]; then
                box+=$line$'\n'
                continue
            fi
            ;;
        esac
        printf '%s\n' "$line" >&2
    done
    [ -z "$box" ] || printf '%s' "$box" >&2
}

# npr_wait PROCESS: until a child has ended; USR1 (sent by Slurm before the time limit) and TERM go to it as USR1, on which programs
# finish what they have in hand and leave with 75. Gives its exit code.
npr_wait() {
    local code
    step=$1
    trap 'NPR_ASKED=1; npr_say "asked to stop: passing it on"; kill -USR1 "$step" 2>/dev/null' USR1 TERM
    # asked while the step began: what is sent to a shell that is about to become the program is lost
    ((!NPR_ASKED)) || { sleep 1 && kill -USR1 "$step" 2>/dev/null; } || true
    while :; do
        code=0
        wait "$step" 2>/dev/null || code=$? # what the shell itself says of a step that was killed is of no use
        kill -0 "$step" 2>/dev/null || break # else only a trap ended the wait
    done
    trap - TERM
    trap 'NPR_ASKED=1' USR1 # a warning that comes now must not end this script: what the step's end means is still to be said
    if ((NPR_ASKED && (code == 138 || code == 143))); then
        code=75 # the signal came before the program was ready for it: nothing is lost either
    fi
    return "$code"
}

# npr_step PROGRAM ARGS...: launch it and wait. Gives the program's exit code.
npr_step() {
    local code=0 log reader
    export NPR_VERDICT=$NPR_WORK/records/stuck-$SLURM_JOB_ID.txt # the watchdog's
    rm -f "$NPR_VERDICT"
    ((!NPR_ASKED)) || return 75
    exec {log}> >(npr_readable)
    reader=$!
    npr_launch "${NPR_PREFIX[@]}" "$NPR_BIN/$1" "${@:2}" 2>&"$log" {log}>&- &
    exec {log}>&-
    npr_wait $! || code=$?
    for _ in {1..20}; do # the step's last lines come before ours
        kill -0 "$reader" 2>/dev/null || break
        sleep 0.1
    done
    [ ! -s "$NPR_VERDICT" ] || code=70
    return "$code"
}

# npr_holder ARGS...: a running job that writes the set of --out= or --set=. The programs hold a kernel lock on it; this
# second look is for file systems whose locks do not reach other nodes (Lustre's localflock, some NFS). Prints its number.
npr_holder() {
    local arg lock job states
    for arg in "$@"; do
        [[ $arg =~ ^--(out|set)=(.*) ]] || continue
        for lock in "${BASH_REMATCH[2]}"/.{work,index}/lock; do
            [ -r "$lock" ] || continue
            job=$(sed -n 's/.*, job \([0-9]*\)$/\1/p' "$lock")
            if [ -z "$job" ] || [ "$job" = "${SLURM_JOB_ID:-}" ]; then continue; fi
            states=$(squeue -h -o '%A %T' -j "$job" 2>/dev/null) || states='' # several lines: the number is also that of an array
            ! grep -qx "$job RUNNING" <<<"$states" || echo "$job"
        done
    done
}

# npr_ask_nodes: does every node of the job still run something? 124: one does not answer
npr_ask_nodes() {
    timeout 60 srun --overlap --quiet --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" \
        --ntasks-per-node=1 --cpus-per-task=1 true 2>/dev/null
}

# npr_wait_for_node: a rank was killed. If every node of the job still answers, give back 0: it was not a node (memory,
# mostly). Else wait: Slurm notices and queues the job again; if it does not, we do. That srun fails may also be srun's own
# doing, each time: if it fails still, and Slurm by then misses no node, it was not a node either.
npr_wait_for_node() {
    local code=0 states
    npr_ask_nodes && return 0
    npr_say "a node does not answer: waiting for Slurm to queue this job again"
    sleep "$NPR_NODE_WAIT"
    npr_ask_nodes || code=$?
    if ((code != 0 && code != 124)) && states=$(sinfo -h -N -n "$SLURM_JOB_NODELIST" -o %T 2>/dev/null) &&
        ! grep -qE '^(down|fail|unk|power|reboot)|\*$' <<<"$states"; then # a star: it does not answer Slurm
        npr_say "srun --overlap ends with $code, but Slurm misses no node"
        return 0
    fi
    npr_requeue "Slurm still counts on it"
}

# npr_requeue WHY: does not return. A job that Slurm itself has ended (scancel, preemption, a lost node) is left to Slurm, which queues
# it again or does not; only at the time limit we must.
npr_requeue() {
    local state again=${SLURM_RESTART_COUNT:-0}
    state=$(squeue -h -o '%T %r' -j "$NPR_JOB" 2>/dev/null) || state='' # slurmctld may be busy
    if [[ $state == "COMPLETING "* && $state != *" TimeLimit" ]]; then
        npr_fail 75 "$1; Slurm ended this job (scancel, preemption, a lost node): if it does not run it again, submit it again to go on"
    fi
    ((again < NPR_RESTARTS)) || npr_fail 75 "$1; this job was queued again $again times, and NPR_RESTARTS in site.sh allows no more:" \
        "finished work is kept, submit it again to go on (with a longer NPR_TIME it needs fewer runs)"
    npr_say "$1; queueing the job again"
    scontrol requeue "$NPR_JOB" || npr_fail 75 "cannot requeue: submit it again to go on"
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

# npr_tower: the options of npr-extract that name the CLIP of site.sh, in the array `tower`
npr_tower() {
    tower=(--model="$NPR_CLIP_WEIGHTS" --config="$NPR_CLIP_CONFIG" --threads="$NPR_CORES_PER_RANK")
    [ -z "$NPR_CLIP_NAME" ] || tower+=(--model-name="$NPR_CLIP_NAME")
}

# npr_try NAME PROGRAM ARGS...: a step of a stage, its record put in place when it is whole. Gives the program's exit code.
npr_try() {
    local record=$NPR_WORK/records/$1.txt code=0
    rm -f "$record.new"
    npr_step "$2" --record="$record.new" --watchdog="$NPR_WATCHDOG" "${@:3}" || code=$?
    # srun, when it has lost a node and given up waiting for the step, ends with 0
    if ((code == 0)) && ! mv "$record.new" "$record" 2>/dev/null; then
        npr_say "the step ended without a record: it was lost"
        code=137
    fi
    return "$code"
}

# npr_begin WHAT MORE: the line that begins a stage in the log of a job
npr_begin() {
    local tasks
    npr_count_tasks
    printf '== %(%F %T)T job %s, %s on %s ranks of %s nodes (%s)%s\n' -1 "${SLURM_JOB_ID:-}" "$1" "${tasks:-?}" \
        "${SLURM_JOB_NUM_NODES:-?}" "${SLURM_JOB_NODELIST:-?}" "${2:-}" >&2
}

# npr_stage NAME PROGRAM ARGS...: run a stage of the pipeline and act on how it ended. NPR_STOPPED, where it is set, is what to say of
# a program that was stopped early and would begin anew: the job is then not queued again.
npr_stage() {
    local name=$1 code=0 start=$SECONDS holder
    [ -n "${SLURM_JOB_ID:-}" ] || npr_fail 64 "$name runs in a job of Slurm: submit it with slurm/pipeline.sh"
    ((!NPR_ASKED)) || npr_requeue "asked to stop before $name, finished work is kept"
    npr_load
    export OMP_NUM_THREADS=$NPR_CORES_PER_RANK
    npr_make_work
    holder=$(npr_holder "${@:3}")
    [ -z "$holder" ] || npr_fail 73 "$name: its output is being written by job $holder; this job leaves it alone: wait for that one, or scancel it"
    npr_begin "$name: $2" "${SLURM_RESTART_COUNT:+, restart $SLURM_RESTART_COUNT}"
    npr_try "$@" || code=$?
    # Right after a restart a node may still hold ports and files of the step before; that shows at once, and once. 233: srun
    # could not reach a node's slurmd.
    if [[ $code == 233 || ($code =~ ^(1|137|143)$ && ${SLURM_RESTART_COUNT:-0} -gt 0) ]] && [ $((SECONDS - start)) -lt 30 ]; then
        npr_say "the step did not start; trying once more"
        sleep 5
        code=0
        npr_try "$@" || code=$?
    fi
    case $code in
    1 | 137 | 139 | 233) npr_wait_for_node ;;
    esac
    npr_ended "$name" "$code" "$((SECONDS - start)) s; its record is $NPR_WORK/records/$name.txt"
}

# npr_ended NAME CODE AFTER: what the end of a stage means: it is done, it is queued again, or it has failed.
npr_ended() {
    case $2 in
    0) npr_say "$1 is done after $3" ;;
    75)
        [ -z "${NPR_STOPPED:-}" ] || npr_fail 75 "$1 stopped early; $NPR_STOPPED"
        npr_requeue "$1 stopped early, finished work is kept"
        ;;
    *) npr_fail "$2" "$1 failed with exit code $2: $(npr_meaning "$2"). What is finished is kept: submit it again when that" \
        "is mended; stages that wait for it will not run" ;;
    esac
}

# npr_submit OPTIONS... SCRIPT [ARGS...]: queue a script with the nodes, ranks, memory, time, account and partition of site.sh. Prints the job's number.
npr_submit() {
    local common=(--parsable --nodes="$NPR_NODES" --ntasks-per-node="$NPR_RANKS_PER_NODE" --cpus-per-task="$NPR_CORES_PER_RANK"
        --time="$NPR_TIME" --output="$NPR_WORK/logs/%x-%j.log" --export="ALL,NPR_SLURM=$NPR_ROOT/slurm") job
    [ -z "$NPR_MEM" ] || common+=(--mem="$NPR_MEM")
    [ -z "$NPR_ACCOUNT" ] || common+=(--account="$NPR_ACCOUNT")
    [ -z "$NPR_PARTITION" ] || common+=(--partition="$NPR_PARTITION")
    job=$(sbatch "${common[@]}" "${NPR_SBATCH[@]}" "$@") || npr_fail 78 "sbatch does not take this job: see above"
    echo "${job%%;*}" # --parsable adds the cluster's name where there are several
}
