/* team.c - see team.h. */
#include "clip/team.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

typedef struct queue {
    const npr_team *team;
    int64_t next, done;
    npr_status st; /* of the first thread that failed, */
    char *text;    /* and what it said */
} queue;

/* Take the next items; returns how many. */
static int take(queue *q, int64_t *first)
{
    int64_t n = 0;
#pragma omp critical(npr_team)
    {
        int64_t left = q->st ? 0 : q->team->items - q->next, share = left / (2 * q->team->threads) + 1;
        n = left < q->team->batch ? left : q->team->batch;
        if (n > share) n = share;
        *first = q->next;
        q->next += n;
    }
    return (int)n;
}

/* Texts of failures are a thread's own: the thread that called must know them. */
static void report(queue *q, npr_status st)
{
#pragma omp critical(npr_team)
    if (st && !q->st) {
        q->st = st;
        q->text = strdup(npr_status_text());
    }
}

npr_status npr_team_run(const npr_team *team)
{
    queue q = {.team = team};
#pragma omp parallel num_threads(team->threads)
    {
        int64_t first, done;
        for (int n; (n = take(&q, &first)) > 0;) {
            report(&q, team->work(team->work_context, omp_get_thread_num(), first, n));
#pragma omp atomic capture
            done = q.done += n;
#pragma omp master
            if (team->between) report(&q, team->between(team->between_context, done));
        }
    }
    if (q.st) npr_status_set(q.st, q.text ? q.text : "out of memory: a message");
    free(q.text);
    return q.st;
}
