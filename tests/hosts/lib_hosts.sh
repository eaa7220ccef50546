# lib_hosts.sh - several hosts on this machine, each a network namespace with a name and an address of its own; between them a switch that
# delays (switch.c). Source after tests/lib.sh. Needs root and /dev/net/tun.
# shellcheck shell=bash

HOSTS_PREFIX=npr$$-
SWITCH_PID=

# Ends with 77 and a sentence where there can be no hosts.
hosts_need() {
    [ "$EUID" = 0 ] || { echo "skipped: network namespaces need root" && exit 77; }
    local tool
    for tool in ip nsenter unshare cc; do
        command -v "$tool" >/dev/null || { echo "skipped: $tool is not installed" && exit 77; }
    done
    [ -c /dev/net/tun ] || { echo "skipped: this kernel has no TAP devices (/dev/net/tun)" && exit 77; }
    ip netns add "${HOSTS_PREFIX}0" 2>/dev/null || { echo "skipped: network namespaces may not be made here" && exit 77; }
    ip netns del "${HOSTS_PREFIX}0"
    cc -std=gnu11 -D_GNU_SOURCE -O2 -Wall -Wextra -o "$TMP/switch" "${NPR_SOURCE:?}/tests/hosts/switch.c" || exit 1
}

# hosts_up N DELAY-US RATE-MBIT; hosts_down ends all of it. Calls of `ranks` and `must` then start their ranks on the hosts in turn.
hosts_up() {
    local n=$1 i
    HOSTS=$n
    trap 'hosts_down; rm -rf "$TMP"' EXIT
    : >"$TMP/hosts"
    for ((i = 1; i <= n; i++)); do
        ip netns add "$HOSTS_PREFIX$i"
        echo "10.77.0.$i slots=64" >>"$TMP/hosts"
    done
    "$TMP/switch" "$HOSTS_PREFIX" "$n" "$2" "$3" >"$TMP/switch.out" 2>"$TMP/switch.err" &
    SWITCH_PID=$!
    for i in {1..100}; do
        grep -qs ready "$TMP/switch.out" && break
        sleep 0.1
    done
    grep -qs ready "$TMP/switch.out" || { cat "$TMP/switch.err" >&2 && exit 1; }
    # mpirun's remote shell: agent [options] ADDRESS words...
    cat >"$TMP/agent" <<END
#!/bin/bash
while [[ \${1:-} == -* ]]; do shift; done
i=\${1##*.}
shift
exec nsenter --net=/run/netns/$HOSTS_PREFIX\$i unshare --uts bash -c 'hostname "\$0"; exec bash -c "\$1"' "node\$i" "\$*"
END
    chmod +x "$TMP/agent"
}

hosts_down() {
    local i
    [ -z "$SWITCH_PID" ] || { kill "$SWITCH_PID" 2>/dev/null && wait "$SWITCH_PID" 2>/dev/null; } || true
    SWITCH_PID=
    for ((i = 1; i <= ${HOSTS:-0}; i++)); do ip netns del "$HOSTS_PREFIX$i" 2>/dev/null || true; done
}

# on_hosts N PROGRAM ARGS...: as `ranks` of tests/lib.sh, a rank per host and TCP between them
on_hosts() {
    local n=$1 program=$2 code=0
    shift 2
    timeout -k 5 "${HOSTS_TIMEOUT:-100}" nsenter --net="/run/netns/${HOSTS_PREFIX}1" unshare --uts bash -c 'hostname node1; exec "$@"' - \
        env OMPI_MCA_btl=self,tcp OMPI_MCA_btl_tcp_if_include=10.77.0.0/24 OMPI_MCA_oob_tcp_if_include=10.77.0.0/24 \
        mpirun -n "$n" --hostfile "$TMP/hosts" --map-by node --mca plm rsh --mca plm_rsh_agent "$TMP/agent" \
        "$BIN/$program" "$@" </dev/null >"$TMP/out" 2>"$TMP/err" || code=$?
    return "$code"
}

# round_trip: milliseconds from host 1 to host 2 and back, the least of five: a connection to a port where nobody listens is refused.
# A try that comes to nothing leaves it to the others.
round_trip() {
    local i
    for i in 1 2 3 4 5; do
        # shellcheck disable=SC2016 # for the inner bash
        nsenter --net="/run/netns/${HOSTS_PREFIX}1" bash -c 'a=$EPOCHREALTIME; { : <>/dev/tcp/10.77.0.2/9; } 2>/dev/null; echo "$a $EPOCHREALTIME"' ||
            echo "a try of a round trip gave $?" >&2
    done | awk '{ ms = ($2 - $1) * 1000; if (NR == 1 || ms < least) least = ms } END { print least }'
}
