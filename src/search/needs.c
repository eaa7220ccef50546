/* needs.c - what a search of this shape takes, by the formulas of npr/plan.h. See search_stage.h. */
#include <math.h>
#include <string.h>

#include "npr/plan.h"
#include "search/search_stage.h"

_Static_assert(sizeof(npr_plan_row) == NPR_PLAN_POOL_ROW && sizeof(npr_hit) == NPR_PLAN_HIT,
               "npr/plan.h counts these bytes");

npr_plan_search_shape npr_search_shape(const npr_search_job *job, const npr_search_inputs *in)
{
    const npr_set *index = in->index;
    const char *factory = index->index ? index->index : "";
    npr_plan_search_shape s = {.rows = (double)index->rows,
                               .dim = index->dim,
                               .part_rows = 1,
                               .pool_part_rows = (double)job->part_rows,
                               .lists = in->lists,
                               .k = job->k,
                               .batch = (double)job->query_batch,
                               .tile_rows = (double)job->tile_rows,
                               .filter = job->limits.clip,
                               .probes = job->nprobe,
                               .refine = job->refine,
                               .recall_queries = job->recall_queries,
                               .resident = job->resident,
                               .urls = job->urls != NULL,
                               .classes = in->head.nq,
                               .factory = npr_plan_factory_read(factory, index->dim)};
    if (!strcmp(job->mode, "caption")) s.mode = NPR_PLAN_CAPTION;
    if (!strcmp(job->mode, "faiss")) s.mode = NPR_PLAN_FAISS;
    for (int p = 0; p < index->parts; p++) {
        s.file += (double)index->part[p].bytes;
        s.part_rows = fmax(s.part_rows, (double)index->part[p].rows);
    }
    return s;
}

/* ---- the plan, for --dry-run --------------------------------------------------------------------------- */

static double gib(double bytes)
{
    return bytes / (1 << 30);
}

/* What nobody knows of captions before they are read: a third of the texts are tokens (captions, tokens,
 * URLs), and rows name a class as often as LAION-2B's name one of ImageNet. */
static void assume_captions(npr_record *rec, npr_plan_search_shape *s)
{
    static const double MATCHES = 0.15;
    if (s->mode != NPR_PLAN_CAPTION) return;
    s->tokens = s->rows > 0 ? fmax(s->file / s->rows - 2 * s->dim, 0) / 3 : 0;
    s->matches = MATCHES;
    npr_record_real(rec, "plan.assumed.token_bytes", s->tokens);
    npr_record_real(rec, "plan.assumed.matches", s->matches);
}

void npr_search_needs_say(npr_record *rec, const npr_search_job *job, const npr_search_inputs *in, int ranks)
{
    const npr_set *index = in->index;
    npr_plan_search_shape s = npr_search_shape(job, in);
    assume_captions(rec, &s);
    npr_plan_dry_run *dry = job->dry_run;
    npr_plan_cluster here = npr_plan_here(dry, job->threads);
    npr_plan_needs n = dry->needs = npr_plan_search(&s, &here, dry->machine);
    npr_plan_search_memory mem = npr_plan_search_parts(&s);
    int64_t room = job->k < index->rows ? job->k : index->rows;
    npr_record_int(rec, "plan.index_rows", index->rows);
    npr_record_int(rec, "plan.index_parts", index->parts);
    npr_record_int(rec, "plan.parts_per_rank", (index->parts + ranks - 1) / ranks);
    npr_record_int(rec, "plan.lists", in->lists);
    npr_record_int(rec, "plan.batches", (int64_t)mem.batches);
    npr_record_int(rec, "plan.pool_rows_most", in->lists * room);
    npr_record_real(rec, "plan.read_gib_most", gib(n.read));
    npr_record_real(rec, "plan.memory_gib.tiles", gib(mem.tiles));
    npr_record_real(rec, "plan.memory_gib.lists_most", gib(mem.lists));
    npr_record_real(rec, "plan.memory_gib.queries", gib(mem.queries));
    npr_record_real(rec, "plan.memory_gib.pool_plan_most", gib(mem.plan));
    npr_record_real(rec, "plan.memory_gib.pool_window", gib(mem.window));
    if (s.mode == NPR_PLAN_FAISS) npr_record_real(rec, "plan.memory_gib.index", gib(mem.index));
    npr_record_real(rec, "plan.memory_gib.resident_most", gib(mem.resident));
    npr_record_real(rec, "plan.memory_gib_per_rank_most", gib(n.memory));
}
