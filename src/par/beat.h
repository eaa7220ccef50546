/* beat.h - the datagrams of the watchdog: what a rank tells the watchers (ranks 0 and 1), and their answer.
 * No MPI once the sockets are open. See include/npr/watchdog.h. */
#ifndef NPR_PAR_BEAT_H
#define NPR_PAR_BEAT_H

#include <netinet/in.h>
#include <stdint.h>

#include "npr/comm.h"

enum { BEAT_WATCHERS = 2, BEAT_ADDRESSES = 8, BEAT_PHASE = 40, BEAT_HOST = 40 };

/* What a rank is doing. */
typedef struct npr_beat {
    uint64_t job; /* drawn by rank 0: datagrams of other jobs are passed over */
    int64_t steps;
    int32_t rank, process;
    int32_t waiting; /* for other ranks */
    int32_t answer;  /* 1: a watcher's answer; then the fields below mean nothing */
    char phase[BEAT_PHASE], host[BEAT_HOST];
} npr_beat;

typedef struct npr_beats {
    uint64_t job;
    int socket;
    int watchers;                                              /* 1 or 2 */
    struct sockaddr_in address[BEAT_WATCHERS][BEAT_ADDRESSES]; /* where a watcher may be reached */
    int addresses[BEAT_WATCHERS];                              /* 1 once it has answered from there */
} npr_beats;

/* Open this rank's socket and learn the addresses of the watchers. Collective. */
npr_status npr_beats_open(const npr_comm *comm, npr_beats *b);
void npr_beats_close(npr_beats *b);

/* Send to watcher w, to all of its addresses until it has answered from one. What is lost is sent again with
 * the next beat. Local. */
void npr_beats_send(const npr_beats *b, int w, const npr_beat *beat);

/* Wait up to `milliseconds` for a datagram of this job. 1: *beat and *from are set. Local. */
int npr_beats_receive(const npr_beats *b, int milliseconds, npr_beat *beat, struct sockaddr_in *from);

/* Answer a beat. Local. */
void npr_beats_answer(const npr_beats *b, int rank, const struct sockaddr_in *to);

/* Watcher w has answered from this address: keep to it. Local. */
void npr_beats_keep(npr_beats *b, int w, const struct sockaddr_in *from);

#endif
