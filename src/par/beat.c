/* beat.c - see beat.h. A cluster's nodes have several addresses, of which not all reach all nodes: a rank
 * tries all of a watcher's until it gets an answer from one. */
#include "par/beat.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <poll.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

/* IPv4 addresses of this host, the loopback last: it serves ranks on the same host. */
static int list_addresses(in_port_t port, struct sockaddr_in *out)
{
    struct ifaddrs *all = NULL;
    int n = 0;
    if (getifaddrs(&all)) all = NULL;
    for (struct ifaddrs *i = all; i && n < BEAT_ADDRESSES - 1; i = i->ifa_next) {
        if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET) continue;
        if (!(i->ifa_flags & IFF_UP) || i->ifa_flags & IFF_LOOPBACK) continue;
        memcpy(&out[n], i->ifa_addr, sizeof *out);
        out[n++].sin_port = port;
    }
    if (all) freeifaddrs(all);
    out[n] = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = port};
    out[n++].sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return n;
}

static npr_status open_socket(npr_beats *b, in_port_t *port)
{
    struct sockaddr_in any = {.sin_family = AF_INET};
    socklen_t size = sizeof any;
    b->socket = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (b->socket < 0 || bind(b->socket, (struct sockaddr *)&any, sizeof any) ||
        getsockname(b->socket, (struct sockaddr *)&any, &size))
        return npr_fail(NPR_EENV, "the watchdog cannot open a socket: %s (--watchdog=0 goes without)",
                        strerror(errno));
    *port = any.sin_port;
    return NPR_OK;
}

npr_status npr_beats_open(const npr_comm *comm, npr_beats *b)
{
    in_port_t port = 0;
    *b = (npr_beats){.socket = -1, .watchers = comm->size < BEAT_WATCHERS ? comm->size : BEAT_WATCHERS};
    npr_status st = open_socket(b, &port);
    if (!st && getrandom(&b->job, sizeof b->job, 0) != sizeof b->job)
        st = npr_fail(NPR_EENV, "no random number for the watchdog: %s", strerror(errno));
    st = npr_agree(comm, st, "watchdog");
    if (st) {
        npr_beats_close(b);
        return st;
    }
    npr_bcast(comm, &b->job, sizeof b->job, 0);
    for (int w = 0; w < b->watchers; w++) {
        if (comm->rank == w) b->addresses[w] = list_addresses(port, b->address[w]);
        npr_bcast(comm, &b->addresses[w], sizeof b->addresses[w], w);
        npr_bcast(comm, b->address[w], sizeof b->address[w], w);
    }
    return NPR_OK;
}

void npr_beats_close(npr_beats *b)
{
    if (b->socket >= 0) close(b->socket);
    b->socket = -1;
}

static void send_to(const npr_beats *b, const npr_beat *beat, const struct sockaddr_in *to)
{
    (void)!sendto(b->socket, beat, sizeof *beat, MSG_DONTWAIT, (const struct sockaddr *)to, sizeof *to);
}

void npr_beats_send(const npr_beats *b, int w, const npr_beat *beat)
{
    for (int i = 0; i < b->addresses[w]; i++) send_to(b, beat, &b->address[w][i]);
}

void npr_beats_answer(const npr_beats *b, int rank, const struct sockaddr_in *to)
{
    npr_beat answer = {.job = b->job, .rank = rank, .answer = 1};
    send_to(b, &answer, to);
}

int npr_beats_receive(const npr_beats *b, int milliseconds, npr_beat *beat, struct sockaddr_in *from)
{
    struct pollfd wait = {.fd = b->socket, .events = POLLIN};
    socklen_t size = sizeof *from;
    if (poll(&wait, 1, milliseconds) <= 0) return 0;
    ssize_t n = recvfrom(b->socket, beat, sizeof *beat, MSG_DONTWAIT, (struct sockaddr *)from, &size);
    if (n != (ssize_t)sizeof *beat || beat->job != b->job) return 0;
    beat->phase[BEAT_PHASE - 1] = beat->host[BEAT_HOST - 1] = 0;
    return 1;
}

void npr_beats_keep(npr_beats *b, int w, const struct sockaddr_in *from)
{
    b->address[w][0] = *from;
    b->addresses[w] = 1;
}
