/* switch.c - a network switch in a process, for tests of several hosts on one machine where the kernel has no
 * netem: every frame is late by DELAY, and a host sends and receives at RATE.
 *
 *   switch PREFIX HOSTS DELAY-US RATE-MBIT
 *
 * Host i is the network namespace PREFIXi; it gets an eth0 with the address 10.77.0.i, a TAP device whose
 * other end is here. Says "ready" on standard output and works until it is ended. Needs root. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum {
    HOSTS = 32,
    FRAME = 9018, /* jumbo frames: fewer of them to copy */
    QUEUE = 8192, /* frames of one host under way; more are dropped, as a switch does */
    BURST = 64,   /* frames taken from a host before the others have their turn */
    HEADER = 14
};

typedef struct frame {
    double due; /* when it has left its host and travelled */
    int bytes;
    unsigned char *data;
} frame;

/* What a host has sent, in the order in which it arrives: the delay is the same for all. */
typedef struct host {
    int tap;
    double sends_at, receives_at; /* when its link is free again */
    frame queue[QUEUE];
    unsigned long head, tail;
} host;

static host hosts[HOSTS + 1];
static int count;
static double delay, bytes_per_s;

static void die(const char *what)
{
    fprintf(stderr, "switch: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* A TAP device made inside a namespace stays there; its descriptor works from anywhere. */
static int open_tap(const char *prefix, int i)
{
    char text[256];
    snprintf(text, sizeof text, "/run/netns/%s%d", prefix, i);
    int ns = open(text, O_RDONLY | O_CLOEXEC);
    if (ns < 0 || setns(ns, CLONE_NEWNET)) die(text);
    close(ns);
    int tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    struct ifreq request = {.ifr_name = "eth0", .ifr_flags = IFF_TAP | IFF_NO_PI};
    if (tap < 0 || ioctl(tap, TUNSETIFF, &request)) die("a TAP device");
    snprintf(
        text, sizeof text,
        "ip link set lo up && ip link set eth0 address 02:00:00:00:00:%02x mtu 9000 txqueuelen 10000 up && "
        "ip addr add 10.77.0.%d/24 dev eth0",
        i, i);
    if (system(text)) die("setting up eth0");
    return tap;
}

/* Frames that host i wants to send. */
static void take(int i, double t)
{
    host *h = &hosts[i];
    unsigned char buffer[FRAME + HEADER];
    for (int n = 0; n < BURST; n++) {
        ssize_t bytes = read(h->tap, buffer, sizeof buffer);
        if (bytes < HEADER) return;
        if (h->tail - h->head == QUEUE) continue;
        if (h->sends_at < t) h->sends_at = t;
        h->sends_at += (double)bytes / bytes_per_s;
        frame *f = &h->queue[h->tail++ % QUEUE];
        *f = (frame){h->sends_at + delay, (int)bytes, malloc((size_t)bytes)};
        if (!f->data) die("memory");
        memcpy(f->data, buffer, (size_t)bytes);
    }
}

static void deliver(int to, const frame *f, double t)
{
    host *h = &hosts[to];
    if (h->receives_at < t) h->receives_at = t;
    h->receives_at += f->bytes / bytes_per_s;
    if (write(h->tap, f->data, (size_t)f->bytes) < 0 && errno != EAGAIN && errno != EIO)
        die("writing a frame");
}

/* When the first frame of host i may arrive: its own time, and that of the receiver's link (frames to all
 * hosts, which are few and small, do not wait for links). */
static double arrival(const host *h)
{
    const frame *f = &h->queue[h->head % QUEUE];
    int to = f->data[5];
    if (f->data[0] & 1 || to < 1 || to > count) return f->due;
    return f->due > hosts[to].receives_at ? f->due : hosts[to].receives_at;
}

/* Pass on what has arrived; gives the time of the next one. */
static double pass_on(double t)
{
    double next = t + 1;
    for (int i = 1; i <= count; i++) {
        host *h = &hosts[i];
        for (; h->head != h->tail; h->head++) {
            frame *f = &h->queue[h->head % QUEUE];
            double at = arrival(h);
            if (at > t) {
                if (at < next) next = at;
                break;
            }
            int to_all = f->data[0] & 1, to = f->data[5];
            for (int k = 1; k <= count; k++)
                if (k != i && (to_all || k == to)) deliver(k, f, at);
            free(f->data);
        }
    }
    return next;
}

int main(int argc, char **argv)
{
    count = argc == 5 ? atoi(argv[2]) : 0;
    if (count < 1 || count > HOSTS) {
        fprintf(stderr, "usage: switch PREFIX HOSTS(1..%d) DELAY-US RATE-MBIT\n", HOSTS);
        return 64;
    }
    delay = 1e-6 * atof(argv[3]);
    bytes_per_s = 1e6 / 8 * atof(argv[4]);
    for (int i = 1; i <= count; i++) hosts[i].tap = open_tap(argv[1], i);
    prctl(PR_SET_TIMERSLACK, 1000L); /* ns */
    struct sched_param first = {.sched_priority = 10};
    if (sched_setscheduler(0, SCHED_RR, &first)) perror("switch: delays grow when the machine is busy");
    puts("ready");
    fflush(stdout);
    struct pollfd from[HOSTS];
    for (int i = 1; i <= count; i++) from[i - 1] = (struct pollfd){.fd = hosts[i].tap, .events = POLLIN};
    for (;;) {
        double wait = pass_on(now()) - now();
        struct timespec until = {0, wait > 0 ? (long)(1e9 * (wait < 0.5 ? wait : 0.5)) : 0};
        if (ppoll(from, (nfds_t)count, &until, NULL) < 0 && errno != EINTR) die("waiting");
        for (int i = 1; i <= count; i++)
            if (from[i - 1].revents & POLLIN) take(i, now());
    }
}
