/* peer.h - another program that does the same work, to be timed in turn with ours. Local.
 *
 * It reads requests, a line each, from its standard input and answers each with a line: the seconds it took,
 * or another number, not below 0, that it was asked for.
 * A request may be followed by bytes. It says "ready" when it has started, and leaves when its input ends. */
#ifndef NPR_BASE_PEER_H
#define NPR_BASE_PEER_H

#include <stddef.h>

#include "npr/status.h"

typedef struct npr_peer npr_peer;

/* Run a command of the shell as peer, and wait until it is ready. NPR_EENV if it says anything else. */
npr_status npr_peer_start(const char *command, npr_peer **peer);

/* Send a request and the bytes that belong to it (NULL: none), and take the answer: seconds. */
npr_status npr_peer_ask(npr_peer *peer, const char *request, const void *bytes, size_t n, double *seconds);

/* End it and wait for it. NULL is fine. */
void npr_peer_end(npr_peer *peer);

#endif
