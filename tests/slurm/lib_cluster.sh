# lib_cluster.sh - a Slurm of four nodes on this machine, for tests: munged, slurmctld and four slurmd that live in $TMP/cluster, share
# nothing with a Slurm that may be installed, and end with the test. Source after tests/lib.sh. Needs root, slurm-wlm and munge.
# shellcheck shell=bash

CLUSTER=$TMP/cluster
PORT=$((20000 + $$ % 1500 * 8)) # of slurmctld; the slurmd on the four after it

# Ends with 77 and a sentence where there can be no Slurm.
cluster_needs() {
    [ "$EUID" = 0 ] || { echo "skipped: a Slurm on this machine needs root" && exit 77; }
    local tool
    for tool in munged slurmctld slurmd srun sbatch; do
        command -v "$tool" >/dev/null || { echo "skipped: $tool is not installed (slurm/env/debian.sh --tests)" && exit 77; }
    done
}

cluster_conf() {
    cat <<END
ClusterName=test
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=$PORT
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$CLUSTER/munge.socket,cred_expire=5
CredType=cred/munge
MpiDefault=pmix
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
StateSaveLocation=$CLUSTER/state
SlurmdSpoolDir=$CLUSTER/spool.%n
TmpFS=$CLUSTER/tmp.%n
SlurmctldPidFile=$CLUSTER/slurmctld.pid
SlurmdPidFile=$CLUSTER/slurmd.%n.pid
SlurmctldLogFile=$CLUSTER/slurmctld.log
SlurmdLogFile=$CLUSTER/slurmd.%n.log
SlurmdParameters=config_overrides
ReturnToService=2
JobRequeue=1
KillWait=3
EioTimeout=5
InactiveLimit=0
MinJobAge=3600
SlurmctldTimeout=30
SlurmdTimeout=6
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=1,batch_sched_delay=0,kill_invalid_depend
MailProg=/bin/true
NodeName=DEFAULT CPUs=4 Boards=1 SocketsPerBoard=1 CoresPerSocket=4 ThreadsPerCore=1 RealMemory=2000 State=UNKNOWN
NodeName=node[1-4] NodeHostname=$(hostname -s) NodeAddr=127.0.0.1 Port=[$((PORT + 1))-$((PORT + 4))]
PartitionName=main Nodes=node[1-4] Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
END
}

node_up() { slurmd -N "$1"; }

cluster_up() {
    local i
    mkdir -p "$CLUSTER/state" "$CLUSTER"/spool.node{1..4} "$CLUSTER"/tmp.node{1..4}
    chmod 755 "$TMP" "$CLUSTER"
    trap 'cluster_down; rm -rf "$TMP"' EXIT
    head -c 1024 /dev/urandom >"$CLUSTER/munge.key"
    chmod 400 "$CLUSTER/munge.key"
    munged --force --key-file="$CLUSTER/munge.key" --socket="$CLUSTER/munge.socket" --pid-file="$CLUSTER/munged.pid" \
        --log-file="$CLUSTER/munged.log" --seed-file="$CLUSTER/munge.seed" 2>"$CLUSTER/munged.err" ||
        { cat "$CLUSTER/munged.err" >&2 && exit 1; }
    cluster_conf >"$CLUSTER/slurm.conf"
    export SLURM_CONF=$CLUSTER/slurm.conf
    slurmctld -i -c 2>"$CLUSTER/start.err"
    for i in 1 2 3 4; do node_up "node$i" 2>>"$CLUSTER/start.err"; done
    for i in {1..200}; do
        [ "$(sinfo -h -N -t idle -o %N 2>/dev/null | wc -l)" = 4 ] && return
        sleep 0.1
    done
    echo "the cluster does not come up: $(sinfo -N -l 2>&1; tail -n 5 "$CLUSTER"/*.log "$CLUSTER/start.err")" >&2
    exit 1
}

cluster_down() {
    local pid
    scancel -u root --state=running 2>/dev/null || true
    for pid in "$CLUSTER"/slurmd.*.pid "$CLUSTER/slurmctld.pid" "$CLUSTER/munged.pid"; do
        [ ! -e "$pid" ] || kill "$(cat "$pid")" 2>/dev/null || true
    done
    for _ in {1..30}; do
        pgrep -f "$CLUSTER" >/dev/null || return 0
        sleep 0.1
    done
    pkill -9 -f "$CLUSTER" || true # the folder's name is this test's own
}

# cluster_clone LINES...: the scripts in $TMP/clone, with a site.sh for this cluster that has these lines too; results go to $TMP/work.
# Test files are sourced in $TMP, and "nodes" share a host, not their memory.
# shellcheck disable=SC2016 # site.sh expands them
cluster_clone() {
    cd "$TMP"
    export OMPI_MCA_btl=self,vader,tcp OMPI_MCA_btl_tcp_if_include=lo
    unset NPR_FAULT
    mkdir clone
    cp -r "${NPR_SOURCE:?}"/{slurm,jobs,results} clone/
    {
        cat "$NPR_SOURCE"/slurm/site.sh.in "$NPR_SOURCE"/slurm/site-world.sh.in
        printf '%s\n' "NPR_BIN=$BIN" "NPR_WORK=$TMP/work" "NPR_TOWER=$TMP/work" "NPR_INPUT=$TMP/input" 'NPR_NODES=${TEST_NODES:-4}' 'NPR_SOLVE_NODES=$NPR_NODES' NPR_RANKS_PER_NODE=1 \
            NPR_CORES_PER_RANK=1 NPR_TIME=30 NPR_NODE_WAIT=60 'NPR_WATCHDOG=${TEST_WATCHDOG:-1800}'
        # On one host all "nodes" and jobs, and mpirun too, would share Open MPI's folder and remove it under one another.
        printf '%s\n' 'npr_modules() {' "    export OMPI_MCA_orte_tmpdir_base=$TMP/mpi.\$SLURM_JOB_ID" \
            '    mkdir -p "$OMPI_MCA_orte_tmpdir_base"' '}'
        sed -n 's/^\(NPR_\(EMB\|META\|HEAD_EMB\|HEAD_META\|CLASSES\|TEST_EMB\|TEST_LABELS\)=\)/\1/p' "$NPR_SOURCE/slurm/site-world.sh.in"
        printf '%s\n' "$@"
    } >clone/slurm/site.sh
}
pipeline() { bash clone/slurm/pipeline.sh "$@"; }
log() { cat work/logs/*-"$1".log; }

# node_processes NODE: those of jobs on it: the batch script, srun, ranks, and the slurmstepd they are of
node_processes() {
    local environ pid
    for environ in $(grep -lszx "SLURMD_NODENAME=$1" /proc/[0-9]*/environ); do
        pid=${environ//[^0-9]/}
        grep -qszx "SLURM_CONF=$SLURM_CONF" "$environ" || continue
        ! grep -qs slurmstepd "/proc/$(ps -o ppid= -p "$pid" | tr -d ' ')/comm" || ps -o ppid= -p "$pid"
        echo "$pid"
    done
}

# node_crash NODE: its slurmd, the steps on it and their processes end as if the power had failed.
node_crash() {
    kill -9 "$(cat "$CLUSTER/slurmd.$1.pid")"
    # shellcheck disable=SC2046 # numbers
    kill -9 $(node_processes "$1") 2>/dev/null || true
}

# wait_for SECONDS WORDS COMMAND...: until the command succeeds
wait_for() {
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@"; do
        ((SECONDS <= end)) || { fail "waited in vain for $what" && return; }
        sleep 0.1
    done
}

# field JOB NAME: of `scontrol show job`
field() { scontrol -o show job "$1" 2>/dev/null | grep -oE "(^| )$2=[^ ]*" | head -1 | cut -d= -f2-; }

# until_done SECONDS JOB...: all jobs have ended
until_done() {
    local end=$((SECONDS + $1)) job
    shift
    for job in "$@"; do
        until [[ $(field "$job" JobState) =~ ^(COMPLETED|FAILED|CANCELLED|TIMEOUT|NODE_FAIL|OUT_OF_MEMORY)$ ]]; do
            if ((SECONDS > end)); then
                fail "job $job has not ended: $(scontrol show job "$job")"
                return
            fi
            sleep 0.2
        done
    done
}
