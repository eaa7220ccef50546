/* peer.c - see peer.h. A pair of sockets rather than pipes: writing to a peer that has died is an error, not
 * a signal. */
#include "base/peer.h"

#include <errno.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"

extern char **environ;

struct npr_peer {
    pid_t pid;
    int socket;
    char *command;
};

/* Put the child's end in the place of its standard input and output, and run the shell there. */
static int spawn(const char *command, int end, pid_t *pid)
{
    char *argv[] = {"sh", "-c", (char *)command, NULL};
    posix_spawn_file_actions_t actions;
    int code = posix_spawn_file_actions_init(&actions);
    if (code) return code;
    code = posix_spawn_file_actions_adddup2(&actions, end, STDIN_FILENO);
    if (!code) code = posix_spawn_file_actions_adddup2(&actions, end, STDOUT_FILENO);
    if (!code) code = posix_spawn(pid, "/bin/sh", &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    return code;
}

static npr_status gone(const npr_peer *peer, const char *when)
{
    return npr_fail(NPR_EENV, "the peer \"%s\" ended or fell silent %s", peer->command, when);
}

/* A line without its end; lines of answers are short, so one byte at a time does. */
static npr_status read_line(const npr_peer *peer, char *line, size_t cap, const char *when)
{
    size_t n = 0;
    for (;;) {
        char c;
        ssize_t got = recv(peer->socket, &c, 1, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got < 1) return gone(peer, when);
        if (c == '\n') break;
        if (n + 1 < cap) line[n++] = c;
    }
    line[n] = '\0';
    return NPR_OK;
}

static npr_status send_all(const npr_peer *peer, const void *bytes, size_t n)
{
    const char *at = bytes;
    while (n) {
        ssize_t sent = send(peer->socket, at, n, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 1) return gone(peer, "while it was sent work");
        at += sent;
        n -= (size_t)sent;
    }
    return NPR_OK;
}

static npr_status start(npr_peer *peer)
{
    int ends[2], code;
    char line[128];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
        return npr_fail(NPR_EINTERNAL, "no sockets for a peer: %s", strerror(errno));
    peer->socket = ends[0];
    code = spawn(peer->command, ends[1], &peer->pid);
    close(ends[1]);
    if (code) return npr_fail(NPR_EENV, "cannot start the peer \"%s\": %s", peer->command, strerror(code));
    NPR_TRY(read_line(peer, line, sizeof line, "before it was ready"));
    if (strcmp(line, "ready"))
        return npr_fail(NPR_EENV, "the peer \"%s\" says \"%s\", wanted \"ready\"", peer->command, line);
    return NPR_OK;
}

npr_status npr_peer_start(const char *command, npr_peer **out)
{
    npr_peer *peer = npr_alloc(1, sizeof *peer, "a peer");
    *out = NULL;
    if (!peer) return npr_last();
    *peer = (npr_peer){.socket = -1, .command = npr_strdup(command)};
    npr_status st = peer->command ? start(peer) : npr_last();
    if (st)
        npr_peer_end(peer);
    else
        *out = peer;
    return st;
}

npr_status npr_peer_ask(npr_peer *peer, const char *request, const void *bytes, size_t n, double *seconds)
{
    char line[128], *end;
    NPR_TRY(send_all(peer, request, strlen(request)));
    NPR_TRY(send_all(peer, "\n", 1));
    if (bytes) NPR_TRY(send_all(peer, bytes, n));
    NPR_TRY(read_line(peer, line, sizeof line, "before it answered"));
    *seconds = strtod(line, &end);
    if (end == line || *end || !(*seconds >= 0))
        return npr_fail(NPR_EENV, "the peer \"%s\" answers \"%s\" to \"%s\", wanted seconds", peer->command,
                        line, request);
    return NPR_OK;
}

void npr_peer_end(npr_peer *peer)
{
    if (!peer) return;
    if (peer->socket >= 0) close(peer->socket);
    if (peer->pid)
        while (waitpid(peer->pid, NULL, 0) < 0 && errno == EINTR) continue;
    free(peer->command);
    free(peer);
}
