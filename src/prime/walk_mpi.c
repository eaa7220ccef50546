/* walk_mpi.c - see walk.h. */
#include "prime/walk.h"

/* One rank's way through the set. */
typedef struct share {
    npr_walk *walk;
    npr_walk_tile each;
    void *to;
    npr_rows rows;
    int64_t before; /* rows of the parts before the one at hand */
    npr_progress *progress;
} share;

static int64_t tiles_of(const npr_walk *w, int part)
{
    return (w->set->part[part].rows + w->tile_rows - 1) / w->tile_rows;
}

static npr_status take_tile(share *s, npr_part *part, int64_t row0, int64_t n)
{
    npr_walk *w = s->walk;
    if (npr_stop_requested())
        return npr_fail(NPR_ESTOP, "stopped on request during %s; run the same command again", w->what);
    if (npr_fault("solve.tile")) return npr_fail(NPR_EIO, "injected fault at solve.tile");
    double start = npr_now();
    npr_rows_clear(&s->rows);
    NPR_TRY(npr_part_read(part, row0, n, &s->rows));
    double between = npr_now();
    w->read += between - start;
    NPR_TRY(s->each(s->to, &s->rows, s->before + row0));
    w->work += npr_now() - between;
    npr_progress_add(s->progress, n);
    return NPR_OK;
}

/* Tiles [from, to) of a part. */
static npr_status take_part(share *s, int number, int64_t from, int64_t to)
{
    const npr_walk *w = s->walk;
    const npr_part_entry *entry = &w->set->part[number];
    npr_part *part = NULL;
    NPR_TRY(npr_part_open(w->set, number, &part));
    npr_status st = NPR_OK;
    for (int64_t i = from; i < to && !st; i++) {
        int64_t row0 = i * w->tile_rows, left = entry->rows - row0;
        st = take_tile(s, part, row0, left < w->tile_rows ? left : w->tile_rows);
        if (st && st != NPR_ESTOP)
            npr_context(st, "%s/%s, rows from %lld", w->set->path, entry->file, (long long)row0);
    }
    npr_part_close(part);
    return st;
}

static npr_status check_columns(const npr_walk *w)
{
    for (int c = 0; c < NPR_COLUMNS; c++)
        if (w->columns & ~w->set->columns & NPR_COL(c))
            return npr_fail(NPR_EDATA, "%s: has no column %s, which %s needs", w->set->path,
                            npr_column_name((npr_column)c), w->what);
    return NPR_OK;
}

static npr_status take_share(const npr_comm *comm, share *s)
{
    npr_walk *w = s->walk;
    int64_t all = 0, longest = 0, at = 0;
    for (int p = 0; p < w->set->parts; p++) {
        all += tiles_of(w, p);
        if (w->set->part[p].rows > longest) longest = w->set->part[p].rows;
    }
    NPR_TRY(check_columns(w));
    NPR_TRY(
        npr_rows_make(&s->rows, w->columns, w->set->dim, longest < w->tile_rows ? longest : w->tile_rows));
    int64_t first = all * comm->rank / comm->size, last = all * (comm->rank + 1) / comm->size;
    for (int p = 0; p < w->set->parts && at < last; p++) {
        int64_t n = tiles_of(w, p), from = first > at ? first - at : 0, to = last - at < n ? last - at : n;
        if (from < to) NPR_TRY(take_part(s, p, from, to));
        s->before += w->set->part[p].rows;
        at += n;
    }
    return NPR_OK;
}

npr_status npr_walk_set(const npr_comm *comm, const npr_log *log, npr_walk *w, npr_walk_tile each, void *to)
{
    share s = {.walk = w, .each = each, .to = to};
    s.progress = npr_progress_start(comm, log, w->what, "rows", w->set->rows);
    npr_status st = take_share(comm, &s);
    npr_rows_free(&s.rows);
    npr_progress_end(comm, s.progress);
    return npr_agree(comm, st, w->what);
}
