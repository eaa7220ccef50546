/* tiles.c - see tiles.h.
 *
 * The reader fills buffer 0, 1, 0, ... and waits while both are full; the caller takes them in the same
 * order. HDF5 is not made for two threads, so a second lock lets only one of them in at a time. */
#include "search/tiles.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "io/rows.h"
#include "search/resident.h"

struct npr_tiles {
    npr_rows buffer[2];
    int64_t tile_rows;
    uint32_t columns;
    int dim;
    int made;  /* buffers that exist */
    int locks; /* locks and conditions exist */
    /* the part at hand */
    npr_part *part;
    const npr_set *set;
    int number;
    int64_t rows, taken; /* of the part; tiles taken by the caller */
    npr_resident *resident;
    npr_resident_part *there; /* the part is in memory: nothing is read */
    npr_resident_part *keep;  /* it is read into memory, to stay */
    pthread_t reader;
    int running; /* the reader has to be joined */
    /* shared with the reader, under `lock` */
    pthread_mutex_t lock, hdf5;
    pthread_cond_t changed;
    int64_t filled, freed;  /* tiles read, tiles given back */
    double waited, reading; /* seconds */
    int quit;
    npr_status st;
    char *text; /* the reader's failure: texts are kept per thread */
};

npr_status npr_tiles_make(uint32_t columns, int dim, int64_t tile_rows, npr_tiles **out)
{
    npr_tiles *t = npr_alloc(1, sizeof *t, "tiles");
    if (!t) return npr_last();
    t->tile_rows = tile_rows;
    t->columns = columns;
    t->dim = dim;
    npr_status st = NPR_OK;
    for (; !st && t->made < 2; t->made++) st = npr_rows_make(&t->buffer[t->made], columns, dim, tile_rows);
    if (!st) {
        t->locks = !pthread_mutex_init(&t->lock, NULL) && !pthread_mutex_init(&t->hdf5, NULL) &&
                   !pthread_cond_init(&t->changed, NULL);
        if (!t->locks) st = npr_fail(NPR_EINTERNAL, "cannot make locks for reading");
    }
    if (st) {
        npr_tiles_free(t);
        return st;
    }
    *out = t;
    return NPR_OK;
}

/* End the reader and close the part. */
static void finish(npr_tiles *t)
{
    if (t->running) {
        pthread_mutex_lock(&t->lock);
        t->quit = 1;
        pthread_cond_broadcast(&t->changed);
        pthread_mutex_unlock(&t->lock);
        pthread_join(t->reader, NULL);
        t->running = 0;
    }
    npr_part_close(t->part);
    t->part = NULL;
    free(t->text);
    t->text = NULL;
}

void npr_tiles_free(npr_tiles *t)
{
    if (!t) return;
    finish(t);
    for (int i = 0; i < t->made; i++) npr_rows_free(&t->buffer[i]);
    if (t->locks) {
        pthread_mutex_destroy(&t->lock);
        pthread_mutex_destroy(&t->hdf5);
        pthread_cond_destroy(&t->changed);
    }
    free(t);
}

/* Where a tile of the part at hand lies. */
static npr_rows *place_of(npr_tiles *t, int64_t tile)
{
    const npr_resident_part *p = t->there ? t->there : t->keep;
    return p ? &p->tile[tile] : &t->buffer[tile % 2];
}

static npr_status read_tile(npr_tiles *t, int64_t tile)
{
    npr_rows *r = place_of(t, tile);
    int64_t row0 = tile * t->tile_rows, n = t->rows - row0 < t->tile_rows ? t->rows - row0 : t->tile_rows;
    if (t->keep)
        NPR_TRY(npr_rows_make(r, t->columns, t->dim, n));
    else
        npr_rows_clear(r);
    pthread_mutex_lock(&t->hdf5);
    npr_status st = npr_part_read(t->part, row0, n, r);
    pthread_mutex_unlock(&t->hdf5);
    return st;
}

static void *read_all(void *self)
{
    npr_tiles *t = self;
    int64_t tiles = (t->rows + t->tile_rows - 1) / t->tile_rows;
    for (int64_t tile = 0; tile < tiles; tile++) {
        pthread_mutex_lock(&t->lock);
        while (!t->quit && tile - t->freed >= 2) pthread_cond_wait(&t->changed, &t->lock);
        int quit = t->quit;
        pthread_mutex_unlock(&t->lock);
        if (quit) break;
        double start = npr_now();
        npr_status st = read_tile(t, tile);
        pthread_mutex_lock(&t->lock);
        t->reading += npr_now() - start;
        if (!st && t->keep && tile + 1 == tiles) t->keep->whole = 1;
        if (st) {
            t->st = st;
            t->text = strdup(npr_status_text());
        }
        t->filled++;
        pthread_cond_broadcast(&t->changed);
        pthread_mutex_unlock(&t->lock);
        if (st) break;
    }
    return NULL;
}

void npr_tiles_keep(npr_tiles *t, npr_resident *resident)
{
    t->resident = resident;
}

void npr_tiles_seconds(npr_tiles *t, double *waited, double *reading)
{
    pthread_mutex_lock(&t->lock);
    *waited = t->waited;
    *reading = t->reading;
    pthread_mutex_unlock(&t->lock);
}

npr_status npr_tiles_start(npr_tiles *t, const npr_set *set, int part)
{
    finish(t);
    t->set = set;
    t->number = part;
    t->rows = set->part[part].rows;
    t->taken = t->filled = t->freed = 0;
    t->keep = t->there = NULL;
    if (t->resident) t->there = npr_resident_find(t->resident, part, t->columns, t->tile_rows);
    if (t->there) return NPR_OK;
    NPR_TRY(npr_part_open(set, part, &t->part));
    t->rows = npr_part_rows(t->part);
    if (t->resident)
        NPR_TRY(npr_resident_begin(t->resident, part, t->columns, t->dim, t->tile_rows, t->rows, &t->keep));
    t->quit = 0;
    t->st = NPR_OK;
    int failed = pthread_create(&t->reader, NULL, read_all, t);
    if (failed) return npr_fail(NPR_EINTERNAL, "cannot start a thread for reading: %s", strerror(failed));
    t->running = 1;
    return NPR_OK;
}

npr_status npr_part_stop(const npr_set *set, int part)
{
    if (!npr_stop_requested()) return NPR_OK;
    return npr_fail(
        NPR_ESTOP,
        "stopped on request while scanning %s/%s; finished parts are kept, run the same command again",
        set->path, set->part[part].file);
}

npr_status npr_tiles_next(npr_tiles *t, const npr_rows **rows, int64_t *row0)
{
    *rows = NULL;
    NPR_TRY(npr_part_stop(t->set, t->number));
    if (t->taken * t->tile_rows >= t->rows) return NPR_OK;
    double start = npr_now();
    pthread_mutex_lock(&t->lock);
    t->freed = t->taken;
    pthread_cond_broadcast(&t->changed);
    while (!t->there && t->filled <= t->taken) pthread_cond_wait(&t->changed, &t->lock);
    t->waited += npr_now() - start;
    npr_status st = t->filled == t->taken + 1 ? t->st : NPR_OK; /* an error belongs to the last tile filled */
    pthread_mutex_unlock(&t->lock);
    if (st) {
        npr_status_set(st, t->text ? t->text : "out of memory");
        return st;
    }
    *rows = place_of(t, t->taken);
    *row0 = t->taken++ * t->tile_rows;
    return NPR_OK;
}

npr_status npr_tiles_pick(npr_tiles *t, const int64_t *row, int64_t n, npr_rows *r)
{
    pthread_mutex_lock(&t->hdf5);
    npr_status st = npr_part_pick(t->part, row, n, r);
    pthread_mutex_unlock(&t->hdf5);
    return st;
}

int64_t npr_rows_bytes(const npr_rows *r)
{
    int64_t bytes = 0;
    for (int c = 0; c < NPR_COLUMNS; c++)
        if (r->columns & NPR_COL(c))
            bytes += r->n * (int64_t)(npr_column_is_text(c) ? sizeof(int64_t) : npr_column_bytes(c, r->dim));
    if (r->columns & NPR_COL(NPR_CAPTION)) bytes += r->caption.offset[r->n];
    if (r->columns & NPR_COL(NPR_URL)) bytes += r->url.offset[r->n];
    if (r->columns & NPR_COL(NPR_TOKENS)) bytes += r->tokens.offset[r->n];
    return bytes;
}
