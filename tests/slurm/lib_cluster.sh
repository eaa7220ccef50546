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

# node_crash NODE PROGRAM: its slurmd, the steps on it and their processes end as if the power had failed.
node_crash() {
    local rank
    kill -9 "$(cat "$CLUSTER/slurmd.$1.pid")"
    for rank in $(pgrep -f "^$BIN/$2 "); do
        ! tr '\0' '\n' <"/proc/$rank/environ" | grep -qx "SLURMD_NODENAME=$1" || kill -9 "$(ps -o ppid= -p "$rank")" "$rank"
    done
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
