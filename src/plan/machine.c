/* machine.c - the rates of a machine by name. See npr/plan.h. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "npr/plan.h"

static const size_t RECORD_MAX = 1 << 20;

const int npr_plan_batch[NPR_PLAN_BATCHES] = {1, 4, 10, 100, 1000};

#define RATE(field)                                                                                          \
    {                                                                                                        \
#field, offsetof(npr_plan_machine, field)                                                            \
    }
#define RATE_OF(name, field)                                                                                 \
    {                                                                                                        \
        name, offsetof(npr_plan_machine, field)                                                              \
    }
const npr_plan_rate npr_plan_rates[] = {RATE(threads),
                                        RATE(ranks),
                                        RATE(dim),
                                        RATE(memory_read),
                                        RATE(sgemm),
                                        RATE(file_write),
                                        RATE(file_read),
                                        RATE(file_read_cached),
                                        RATE(part_read),
                                        RATE(part_pick),
                                        RATE(ingest_vectors),
                                        RATE(ingest_text),
                                        RATE(ingest_part),
                                        RATE_OF("exact.nq1", exact[0]),
                                        RATE_OF("exact.nq4", exact[1]),
                                        RATE_OF("exact.nq10", exact[2]),
                                        RATE_OF("exact.nq100", exact[3]),
                                        RATE_OF("exact.nq1000", exact[4]),
                                        RATE(exact_hit),
                                        RATE(caption),
                                        RATE(caption_match),
                                        RATE(caption_filter),
                                        RATE(pool_row),
                                        RATE(pool_start),
                                        RATE(train),
                                        RATE(train_pq),
                                        RATE(train_polysemous),
                                        RATE(add),
                                        RATE(encode_pq),
                                        RATE(index_row),
                                        RATE(index_load),
                                        RATE(coarse),
                                        RATE(tables),
                                        RATE_OF("code.flat", code[NPR_CODE_FLAT]),
                                        RATE_OF("code.sq", code[NPR_CODE_SQ]),
                                        RATE_OF("code.pq", code[NPR_CODE_PQ]),
                                        RATE_OF("code.fs", code[NPR_CODE_FS]),
                                        RATE_OF("code_hit.flat", code_hit[NPR_CODE_FLAT]),
                                        RATE_OF("code_hit.sq", code_hit[NPR_CODE_SQ]),
                                        RATE_OF("code_hit.pq", code_hit[NPR_CODE_PQ]),
                                        RATE_OF("code_hit.fs", code_hit[NPR_CODE_FS]),
                                        RATE(candidate),
                                        RATE(decode),
                                        RATE(tower),
                                        RATE(text),
                                        RATE(gradient),
                                        RATE(gradient_cell),
                                        RATE(step),
                                        RATE(step_cell),
                                        RATE(picture),
                                        RATE(url_row),
                                        RATE(sums),
                                        RATE(argmax),
                                        RATE(loo),
                                        RATE(merge_hit),
                                        RATE(latency),
                                        RATE(bandwidth)};
const size_t npr_plan_rate_count = sizeof npr_plan_rates / sizeof *npr_plan_rates;

npr_plan_machine npr_plan_machine_unknown(void)
{
    npr_plan_machine m;
    for (size_t i = 0; i < npr_plan_rate_count; i++)
        *(double *)(void *)((char *)&m + npr_plan_rates[i].offset) = NAN;
    return m;
}

/* The number of a key in a record; NaN without the key. */
static double find(const char *text, const char *name)
{
    char key[96];
    int n = snprintf(key, sizeof key, "calibration.%s=", name);
    for (const char *line = text; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
        if (!strncmp(line, key, (size_t)n)) return strtod(line + n, NULL);
    return NAN;
}

npr_status npr_plan_machine_read(const char *path, npr_plan_machine *m)
{
    char *text = NULL;
    size_t bytes;
    *m = npr_plan_machine_unknown();
    NPR_TRY(npr_file_read(path, RECORD_MAX, &text, &bytes));
    for (size_t i = 0; i < npr_plan_rate_count; i++)
        *(double *)(void *)((char *)m + npr_plan_rates[i].offset) = find(text, npr_plan_rates[i].name);
    free(text);
    if (m->threads > 0 && m->dim > 0) return NPR_OK;
    return npr_fail(NPR_EDATA,
                    "%s: no record of npr-bench --what=calibrate: wanted calibration.threads, .dim and rates",
                    path);
}

npr_plan_cluster npr_plan_here(const npr_plan_dry_run *d, double threads)
{
    npr_plan_cluster here = d->here;
    here.threads = threads;
    return here;
}
