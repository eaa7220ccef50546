/* verify_mpi.c - npr_set_verify(): parts dealt to ranks, their reports put together. See include/npr/set.h.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "io/rows.h"
#include "npr/set.h"

/* What a rank has seen. */
typedef struct seen {
    npr_part_report sum;
    int64_t bad, first_bad; /* parts; the lowest of them, INT64_MAX = none */
    char text[1024];        /* what is wrong with it */
} seen;

static void add_report(npr_part_report *sum, const npr_part_report *r)
{
    sum->rows += r->rows;
    sum->non_finite += r->non_finite;
    sum->non_unit += r->non_unit;
    sum->labelled += r->labelled;
    sum->captioned += r->captioned;
    sum->norm_min = fmin(sum->norm_min, r->norm_min);
    sum->norm_max = fmax(sum->norm_max, r->norm_max);
    if (r->id_min < sum->id_min) sum->id_min = r->id_min;
    if (r->id_max > sum->id_max) sum->id_max = r->id_max;
}

static npr_status verify_one(const npr_set *set, int part, int quick, npr_part_report *report)
{
    if (!quick) return npr_part_verify(set, part, report);
    npr_part *p;
    NPR_TRY(npr_part_open(set, part, &p));
    npr_part_close(p);
    return NPR_OK;
}

/* All of this rank's parts, also behind a bad one. */
static npr_status verify_mine(const npr_comm *comm, const npr_set *set, int quick, npr_progress *progress,
                              seen *s)
{
    for (int i = comm->rank; i < set->parts && !npr_stop_requested(); i += comm->size) {
        npr_part_report report = {
            .norm_min = INFINITY, .norm_max = -INFINITY, .id_min = INT64_MAX, .id_max = INT64_MIN};
        npr_status st = verify_one(set, i, quick, &report);
        if (st == NPR_EINTERNAL) return st; /* no memory: nothing is known of the part */
        if (!st) add_report(&s->sum, &report);
        if (st && !s->bad++) {
            s->first_bad = i;
            snprintf(s->text, sizeof s->text, "%s", npr_status_text());
        }
        npr_progress_add(progress, set->part[i].rows);
    }
    return NPR_OK;
}

/* Every rank knows the first bad part; the rank that met it says so for all. */
static npr_status agree_on_bad(const npr_comm *comm, const npr_set *set, const seen *s)
{
    int64_t bad = s->bad, first = -s->first_bad;
    npr_sum_i64(comm, &bad, 1);
    npr_max_i64(comm, &first, 1);
    npr_status st = NPR_OK;
    if (bad && -first == s->first_bad)
        st = npr_fail(NPR_EDATA, "%s: %lld of %d parts are bad, the first: %s", set->path, (long long)bad,
                      set->parts, s->text);
    return npr_agree(comm, st, "verify");
}

static void reduce_report(const npr_comm *comm, npr_part_report *r)
{
    int64_t sums[] = {r->rows, r->non_finite, r->non_unit, r->labelled, r->captioned};
    int64_t most[] = {r->id_max, -(r->id_min + 1)}; /* the + 1 keeps -INT64_MIN out of it */
    double norms[] = {r->norm_max, -r->norm_min};
    npr_sum_i64(comm, sums, sizeof sums / sizeof *sums);
    npr_max_i64(comm, most, sizeof most / sizeof *most);
    npr_max_f64(comm, norms, sizeof norms / sizeof *norms);
    *r = (npr_part_report){.rows = sums[0],
                           .non_finite = sums[1],
                           .non_unit = sums[2],
                           .labelled = sums[3],
                           .captioned = sums[4],
                           .id_max = most[0],
                           .id_min = -most[1] - 1,
                           .norm_max = norms[0],
                           .norm_min = -norms[1]};
}

static void record_set(npr_record *rec, const npr_set *set)
{
    char columns[NPR_COLUMNS_TEXT];
    npr_record_text(rec, "result.kind", set->kind);
    npr_record_text(rec, "result.model", set->model);
    npr_record_int(rec, "result.dim", set->dim);
    npr_record_int(rec, "result.rows", set->rows);
    npr_record_int(rec, "result.parts", set->parts);
    npr_record_text(rec, "result.columns", npr_columns_print(set->columns, columns));
    npr_record_text(rec, "result.index", set->index);
}

static void record_report(npr_record *rec, const npr_part_report *r)
{
    npr_record_int(rec, "result.non_finite", r->non_finite);
    npr_record_int(rec, "result.non_unit", r->non_unit);
    npr_record_int(rec, "result.labelled", r->labelled);
    npr_record_int(rec, "result.captioned", r->captioned);
    if (r->rows > r->non_finite) {
        npr_record_real(rec, "result.norm_min", r->norm_min);
        npr_record_real(rec, "result.norm_max", r->norm_max);
    }
    if (r->rows > 0) {
        npr_record_int(rec, "result.id_min", r->id_min);
        npr_record_int(rec, "result.id_max", r->id_max);
    }
}

npr_status npr_set_verify(const npr_comm *comm, const npr_log *log, npr_record *rec, const char *path,
                          int quick)
{
    npr_set *set;
    seen s = {.first_bad = INT64_MAX};
    s.sum = (npr_part_report){
        .norm_min = INFINITY, .norm_max = -INFINITY, .id_min = INT64_MAX, .id_max = INT64_MIN};
    NPR_TRY(npr_set_open_all(comm, path, &set));
    double start = npr_now();
    npr_progress *progress = npr_progress_start(comm, log, "verify", "rows", set->rows);
    npr_status st = npr_agree(comm, verify_mine(comm, set, quick, progress, &s), "verify");
    npr_progress_end(comm, progress);
    if (!st) st = npr_agree_stop(comm, "verify");
    if (!st) st = agree_on_bad(comm, set, &s);
    if (!st) {
        reduce_report(comm, &s.sum);
        record_set(rec, set);
        if (!quick) record_report(rec, &s.sum);
        npr_record_text(rec, "check.digest", set->digest);
        npr_record_time(comm, rec, "verify", npr_now() - start);
    }
    npr_set_free(set);
    return st;
}
