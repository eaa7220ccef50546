/* team.h - a range of items shared out to threads. Local. */
#ifndef NPR_CLIP_TEAM_H
#define NPR_CLIP_TEAM_H

#include <stdint.h>

#include "npr/status.h"

typedef struct npr_team {
    int threads;
    int64_t items;
    int batch; /* items a thread takes at most at a time; fewer towards the end, so that threads end together
                */

    /* Do items first .. first + n - 1, on thread `thread` of 0 .. threads - 1. */
    npr_status (*work)(void *context, int thread, int64_t first, int n);

    /* On the thread that called, now and then: `done` items are done. May be NULL. */
    npr_status (*between)(void *context, int64_t done);
    void *work_context, *between_context;
} npr_team;

/* Do all items. The first failure of any thread ends the work; its code and text are the calling thread's. */
npr_status npr_team_run(const npr_team *team);

#endif
