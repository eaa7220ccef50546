/* verdict.c - see verdict.h. */
#include "par/verdict.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "npr/log.h"

enum {
    GROUPS = 12,
    RANGES = 8
}; /* lines, and ranges of ranks in a line: a screenful, not a thousand lines */

npr_status npr_verdict_make(npr_verdict *v, const char *program, int rank, int size, int watchers,
                            double patience)
{
    *v = (npr_verdict){program, rank, size, watchers, patience, NULL};
    v->of = npr_alloc((size_t)size, sizeof *v->of, "the watchdog");
    if (!v->of) return npr_last();
    npr_verdict_forgive(v, npr_now());
    return NPR_OK;
}

void npr_verdict_free(npr_verdict *v)
{
    free(v->of);
    v->of = NULL;
}

void npr_verdict_hear(npr_verdict *v, const npr_beat *beat, double now)
{
    if (beat->rank < 0 || beat->rank >= v->size) return;
    npr_of_rank *r = &v->of[beat->rank];
    if (r->known && beat->steps < r->beat.steps) return; /* overtaken by a later one */
    if (!r->known || beat->steps != r->beat.steps) r->moved = now;
    r->heard = now;
    r->known = 1;
    r->beat = *beat;
}

void npr_verdict_forgive(npr_verdict *v, double now)
{
    for (int r = 0; r < v->size; r++) v->of[r].moved = v->of[r].heard = now;
}

static int unheard(const npr_verdict *v)
{
    int n = 0;
    for (int r = 0; r < v->size; r++) n += !v->of[r].known;
    return n;
}

static double idle(const npr_verdict *v, double now)
{
    double last = v->of[v->rank].moved;
    for (int r = 0; v->rank < v->watchers && r < v->size; r++)
        if (v->of[r].moved > last) last = v->of[r].moved;
    return now - last;
}

int npr_verdict_stuck(const npr_verdict *v, double answered, double now)
{
    double grace =
        fmin(fmax(v->patience / 4, 3), 30); /* the launcher takes a second or two to end this process */
    if (v->rank < v->watchers) {
        double patience = unheard(v) ? 4 * v->patience : v->patience;
        return idle(v, now) >= patience + v->rank * grace;
    }
    double turn =
        (v->rank - v->watchers) % 64 / 2.0; /* seconds: not all at once, the first one ends the job */
    return idle(v, now) >= v->patience + 2 * grace + turn && now - answered >= v->patience;
}

/* ---- words --------------------------------------------------------------------------------------------- */

typedef struct text {
    char at[8192], who[64]; /* who: how each line begins */
    size_t n;
} text;

static void put(text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void put(text *t, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(t->at + t->n, sizeof t->at - t->n, fmt, ap);
    va_end(ap);
    if (n > 0) t->n = t->n + (size_t)n < sizeof t->at ? t->n + (size_t)n : sizeof t->at - 1;
}

static int is_silent(const npr_verdict *v, int r, double now)
{
    return !v->of[r].known || now - v->of[r].heard > v->patience / 2;
}

/* Do two ranks go into one line? */
static int alike(const npr_verdict *v, int a, int b, double now)
{
    const npr_beat *x = &v->of[a].beat, *y = &v->of[b].beat;
    return v->of[a].known == v->of[b].known && is_silent(v, a, now) == is_silent(v, b, now) &&
           x->waiting == y->waiting && !strcmp(x->phase, y->phase);
}

/* "ranks 0,2-1023", or "rank 1 (node042, process 4711)" */
static void put_ranks(text *t, const npr_verdict *v, int first, double now)
{
    int count = 0, ranges = 0;
    for (int r = first; r < v->size; r++) count += alike(v, first, r, now);
    put(t, "rank%s ", count > 1 ? "s" : "");
    for (int r = first; r < v->size; r++) {
        if (!alike(v, first, r, now)) continue;
        int end = r;
        while (end + 1 < v->size && alike(v, first, end + 1, now)) end++;
        if (ranges++ == RANGES) {
            put(t, ",... (%d in all)", count);
            break;
        }
        put(t, "%s%d", ranges > 1 ? "," : "", r);
        if (end > r) put(t, "-%d", end);
        r = end;
    }
    if (count == 1 && v->of[first].known)
        put(t, " (%s, process %d)", v->of[first].beat.host, v->of[first].beat.process);
}

static void put_group(text *t, const npr_verdict *v, int first, double now)
{
    const npr_of_rank *r = &v->of[first];
    put(t, "%s:   ", t->who);
    put_ranks(t, v, first, now);
    if (!r->known)
        put(t, ": never heard of");
    else if (is_silent(v, first, now))
        put(t, ": silent for %.0f s (stopped, or cut off); last phase: %s", now - r->heard, r->beat.phase);
    else
        put(t, r->beat.waiting ? ": waiting for the others in: %s" : ": last phase: %s", r->beat.phase);
    put(t, "\n");
}

/* Lines for the silent ranks, then for the others. */
static void put_groups(text *t, const npr_verdict *v, double now)
{
    int groups = 0;
    for (int silent = 1; silent >= 0; silent--)
        for (int r = 0; r < v->size; r++) {
            int seen = is_silent(v, r, now) != silent;
            for (int before = 0; before < r && !seen; before++) seen = alike(v, before, r, now);
            if (seen) continue;
            if (groups++ == GROUPS) {
                put(t, "%s:   and so on\n", t->who);
                return;
            }
            put_group(t, v, r, now);
        }
}

void npr_verdict_print(const npr_verdict *v, double now, int fd)
{
    text t = {.n = 0};
    char clock[NPR_CLOCK];
    snprintf(t.who, sizeof t.who, "%s %.48s", npr_clock(clock), v->program);
    const npr_of_rank *self = &v->of[v->rank];
    put(&t,
        "%s: no progress for %.0f s: the watchdog (--watchdog=%g) ends the job; finished work is kept, "
        "run the same command again\n",
        t.who, idle(v, now), v->patience);
    if (v->rank < v->watchers) {
        put_groups(&t, v, now);
    } else {
        put(&t, "%s:   ranks 0-%d: silent (stopped, or cut off)\n", t.who, v->watchers - 1);
        put(&t,
            self->beat.waiting ? "%s:   rank %d: waiting for the others in: %s\n"
                               : "%s:   rank %d: last phase: %s\n",
            t.who, v->rank, self->beat.phase);
    }
    for (size_t at = 0; at < t.n;) {
        ssize_t n = write(fd, t.at + at, t.n - at);
        if (n <= 0) break;
        at += (size_t)n;
    }
}
