/* inputs_mpi.c - what a search is given: sets opened and checked against one another once, queries and class
 * names handed to all ranks. See search_stage.h. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/mem.h"
#include "search/search_stage.h"

static const size_t NAMES_MAX = (size_t)1 << 30; /* bytes of a class file */

/* ---- queries to all ranks ------------------------------------------------------------------------------ */

/* All names, each with its final zero. */
static npr_status join_names(const npr_queries *q, char **bytes, size_t *n)
{
    *n = 0;
    for (int i = 0; i < q->nq; i++) *n += strlen(q->name[i]) + 1;
    *bytes = npr_alloc(*n, 1, "query names");
    if (!*bytes) return npr_last();
    char *to = *bytes;
    for (int i = 0; i < q->nq; i++) to = stpcpy(to, q->name[i]) + 1;
    return NPR_OK;
}

static npr_status split_names(npr_queries *q, const char *bytes)
{
    q->name = npr_alloc((size_t)q->nq, sizeof *q->name, "query names");
    if (!q->name) return npr_last();
    for (int i = 0; i < q->nq; i++, bytes += strlen(bytes) + 1) {
        q->name[i] = npr_strdup(bytes);
        if (!q->name[i]) return npr_last();
    }
    return NPR_OK;
}

static npr_status bcast_names(const npr_comm *comm, npr_queries *q)
{
    int64_t n = 0;
    size_t bytes = 0;
    char *names = NULL;
    npr_status st = comm->rank == 0 ? join_names(q, &names, &bytes) : NPR_OK;
    n = (int64_t)bytes;
    npr_bcast(comm, &n, sizeof n, 0);
    if (comm->rank != 0 && !(names = npr_alloc((size_t)n, 1, "query names"))) st = npr_last();
    st = npr_agree(comm, st, "reading queries");
    if (!st) {
        npr_bcast(comm, names, (size_t)n, 0);
        if (comm->rank != 0) st = split_names(q, names);
        st = npr_agree(comm, st, "reading queries");
    }
    free(names);
    return st;
}

/* Read by rank 0 alone: a thousand ranks need not open one small file. */
static npr_status read_queries(const npr_comm *comm, const npr_set *set, npr_queries *q)
{
    npr_status st = comm->rank == 0 ? npr_queries_read(set, q) : NPR_OK;
    NPR_TRY(npr_agree(comm, st, "reading queries"));
    int64_t shape[] = {q->nq, q->dim, q->classes, q->name != NULL};
    npr_bcast(comm, shape, sizeof shape, 0);
    size_t nq = (size_t)shape[0], values = nq * (size_t)shape[1];
    if (comm->rank != 0) {
        *q = (npr_queries){.nq = (int)shape[0], .dim = (int)shape[1], .classes = (int)shape[2]};
        q->vector = npr_alloc_aligned(values, sizeof *q->vector, "query vectors");
        q->label = npr_alloc(nq, sizeof *q->label, "query labels");
        q->id = npr_alloc(nq, sizeof *q->id, "query numbers");
        if (!q->vector || !q->label || !q->id) st = npr_last();
    }
    NPR_TRY(npr_agree(comm, st, "reading queries"));
    npr_bcast(comm, q->vector, values * sizeof *q->vector, 0);
    npr_bcast(comm, q->label, nq * sizeof *q->label, 0);
    npr_bcast(comm, q->id, nq * sizeof *q->id, 0);
    return shape[3] ? bcast_names(comm, q) : NPR_OK;
}

/* ---- class names --------------------------------------------------------------------------------------- */

static npr_status read_names(const char *path, char **text)
{
    size_t n;
    NPR_TRY(npr_file_read(path, NAMES_MAX, text, &n));
    if (memchr(*text, 0, n))
        return npr_fail(NPR_EDATA, "%s: a zero byte at offset %zu; a class file is text", path,
                        strlen(*text));
    return NPR_OK;
}

/* The names of the head's rows as a class file. */
static npr_status names_of_head(const npr_search_inputs *in, char **text)
{
    const npr_queries *h = &in->head;
    if (!h->name)
        return npr_fail(NPR_EENV, "%s: a head without class names; give a class file with --names",
                        in->head_set->path);
    size_t n;
    NPR_TRY(join_names(h, text, &n));
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)(*text)[i];
        if (c == 0)
            (*text)[i] = i + 1 < n ? '\n' : 0;
        else if (c < 0x20)
            (*text)[i] = ' '; /* a tab or line break inside a name must not begin another one */
    }
    return NPR_OK;
}

static npr_status prepare_names(const npr_comm *comm, const npr_search_job *job, npr_search_inputs *in)
{
    npr_status st = NPR_OK;
    if (comm->rank == 0) st = job->names ? read_names(job->names, &in->names) : names_of_head(in, &in->names);
    NPR_TRY(npr_agree(comm, st, "reading class names"));
    NPR_TRY(npr_bcast_text(comm, &in->names, 0));
    st = npr_phrases_make(in->names, &in->phrases);
    return npr_agree(comm, npr_context(st, "%s", job->names ? job->names : in->head_set->path),
                     "reading class names");
}

static void warn_of_names(const npr_log *log, const npr_phrases *p)
{
    if (p->empty)
        npr_warn(log, "%lld synonyms have no letter or digit and are left out", (long long)p->empty);
    if (!p->shared) return;
    const npr_phrase *f = &p->phrase[p->shared_first];
    int32_t a = p->owner[f->owner], b = p->owner[f->owner + 1];
    npr_warn(
        log,
        "%lld phrases name more than one class; \"%.*s\" stands for classes %d (%.40s) and %d (%.40s): a "
        "caption with it counts for each",
        (long long)p->shared, (int)(f->bytes < 60 ? f->bytes - 1 : 60), f->text, a, p->name[a], b,
        p->name[b]);
}

/* ---- lists --------------------------------------------------------------------------------------------- */

/* A list per query, or per class of the class file, with its class and name. */
static npr_status make_lists(npr_search_inputs *in)
{
    in->lists = in->phrases ? in->phrases->classes : in->by->nq;
    in->label = npr_alloc((size_t)in->lists, sizeof *in->label, "classes");
    in->name = npr_alloc((size_t)in->lists, sizeof *in->name, "classes");
    if (!in->label || !in->name) return npr_last();
    int own_numbers =
        in->phrases && in->head_set && in->head.nq == in->lists; /* names stand for the head's rows */
    for (int i = 0; i < in->lists; i++) {
        if (in->phrases) {
            in->label[i] = own_numbers ? in->head.label[i] : i;
            in->name[i] = in->phrases->name[i];
        } else {
            in->label[i] = in->by->label[i];
            in->name[i] = in->by->name ? in->by->name[i] : NULL;
        }
    }
    return NPR_OK;
}

/* ---- checks -------------------------------------------------------------------------------------------- */

/* Is the head asked about rows, and not only for names? */
static int head_judges(const npr_search_job *job)
{
    return job->limits.clip || job->keep || (!strcmp(job->mode, "caption") && !strcmp(job->cap_by, "head"));
}

static npr_status check_job(const npr_search_job *job)
{
    int caption = !strcmp(job->mode, "caption");
    if (caption && !job->names && !job->head)
        return npr_fail(NPR_EUSAGE,
                        "caption search needs --names (a class file) or --head (a head with class names)");
    if (!caption && !job->queries && !job->head)
        return npr_fail(NPR_EUSAGE, "%s search needs --queries or --head", job->mode);
    if (caption && job->queries)
        return npr_fail(NPR_EUSAGE,
                        "caption search has no use for --queries; names come from --names or --head");
    if (!caption && job->names)
        return npr_fail(NPR_EUSAGE, "--names is for caption search, not for %s", job->mode);
    if (job->limits.clip && !job->head) return npr_fail(NPR_EUSAGE, "the CLIP filter needs --head");
    if (job->keep && !job->head) return npr_fail(NPR_EUSAGE, "--keep-per-class needs --head");
    if (caption && !strcmp(job->cap_by, "head") && !job->head)
        return npr_fail(NPR_EUSAGE, "--cap-by=head needs --head");
    if (caption && job->min_score > -INFINITY)
        return npr_fail(NPR_EUSAGE, "--min-score is for exact and faiss search; caption search has no score");
    if ((job->target_recall > 0 || job->strict) && strcmp(job->mode, "faiss") != 0)
        return npr_fail(NPR_EUSAGE, "--target-recall and --strict are for faiss search; %s search is exact",
                        job->mode);
    if (job->strict && !(job->target_recall > 0))
        return npr_fail(NPR_EUSAGE, "--strict is about --target-recall, which is not given");
    if (job->recall_queries && strcmp(job->mode, "faiss") != 0)
        return npr_fail(NPR_EUSAGE, "--recall-queries is for faiss search; %s search is exact", job->mode);
    return NPR_OK;
}

static npr_status check_columns(const npr_search_job *job, const npr_search_inputs *in)
{
    const npr_filter_limits *l = &job->limits;
    /* What captions recall may stay without a class, unless the class is asked for. */
    int classes = strcmp(job->mode, "caption") != 0 || l->clip || job->keep;
    const struct {
        int needed;
        npr_column column;
        const char *why;
    } need[] = {{!strcmp(job->mode, "caption"), NPR_TOKENS, "caption search reads"},
                {l->min_similarity > -INFINITY, NPR_SIMILARITY, "--min-similarity asks for"},
                {!strcmp(job->mode, "caption") && !strcmp(job->cap_by, "similarity"), NPR_SIMILARITY,
                 "--cap-by=similarity asks for"},
                {l->max_nsfw < NPR_NSFW_LIKELY, NPR_NSFW, "--max-nsfw asks for"},
                {l->min_side > 0, NPR_WIDTH, "--min-side asks for"},
                {l->min_side > 0, NPR_HEIGHT, "--min-side asks for"},
                {!strcmp(job->pool, "row") && classes, NPR_LABEL, "--pool=row takes classes from"}};
    for (size_t i = 0; i < sizeof need / sizeof *need; i++)
        if (need[i].needed && !(in->index->columns & NPR_COL(need[i].column)))
            return npr_fail(NPR_EENV, "%s: no column \"%s\", which %s", in->index->path,
                            npr_column_name(need[i].column), need[i].why);
    if (!strcmp(job->mode, "faiss") && !in->index->index[0])
        return npr_fail(NPR_EENV, "%s: no FAISS index in it; build one with npr-index", in->index->path);
    return !strcmp(job->mode, "faiss") ? npr_search_candidates_check(job, in->index->rows) : NPR_OK;
}

static npr_status check_labels(const npr_search_job *job, const npr_search_inputs *in)
{
    int judges = head_judges(job);
    for (int i = 0; judges && i < in->head.nq; i++)
        if (in->head.label[i] < 0)
            return npr_fail(NPR_EENV, "%s: row %d has no class, so rows cannot be filtered with this head",
                            in->head_set->path, i);
    if (judges && in->phrases && in->head.nq != in->lists)
        return npr_fail(NPR_EENV, "%s names %d classes, %s has %d", job->names, in->lists, in->head_set->path,
                        in->head.nq);
    if (!strcmp(job->pool, "row")) return NPR_OK;
    for (int i = 0; i < in->lists; i++) {
        if (in->label[i] < 0)
            return npr_fail(NPR_EENV,
                            "%s: row %d has no class to give to what it recalls; use --pool=row to keep the "
                            "classes of the index",
                            in->by == &in->head ? job->head : job->queries, i);
        if (judges && in->label[i] >= in->head.classes)
            return npr_fail(NPR_EENV, "query %d is of class %d, the head of the filters has classes 0 to %d",
                            i, in->label[i], in->head.classes - 1);
    }
    return NPR_OK;
}

static void warn_of_models(const npr_log *log, const npr_set *a, const npr_set *b)
{
    if (!strcmp(a->model, "unknown") || !strcmp(b->model, "unknown"))
        npr_warn(
            log,
            "model of %s is \"%s\", of %s \"%s\": if they differ, scores mean nothing (npr-ingest --model "
            "says it)",
            a->path, a->model, b->path, b->model);
}

/* A set that could not be opened must not be freed with the others. */
static npr_status open_set(const npr_comm *comm, const char *path, npr_set **set)
{
    npr_status st = npr_set_open_all(comm, path, set);
    if (st) *set = NULL;
    return st;
}

/* Open a set of vectors that is compared with the index. */
static npr_status open_vectors(const npr_comm *comm, const npr_log *log, const npr_search_inputs *in,
                               const char *path, int compared, npr_set **set, npr_queries *q)
{
    NPR_TRY(open_set(comm, path, set));
    if (compared)
        NPR_TRY(npr_set_match(*set, in->index)); /* manifests are the same on all ranks: so is the answer */
    if (compared) warn_of_models(log, *set, in->index);
    return read_queries(comm, *set, q);
}

/* ---- identity ------------------------------------------------------------------------------------------ */

static npr_status make_identity(const npr_search_job *job, npr_search_inputs *in)
{
    char names[NPR_DIGEST_HEX] = "-";
    if (in->names) npr_digest_block(in->names, strlen(in->names), names);
    /* Once each part proposed rows of its own: what such a run has begun is not to be finished by this one.
     */
    const char *candidates = strcmp(job->mode, "faiss") ? "" : "search.candidates=all-parts\n";
    in->identity =
        npr_path("%s%sinput.index=%s\ninput.queries=%s\ninput.head=%s\ninput.names=%s\n", job->identity,
                 candidates, in->index->digest, in->query_set ? in->query_set->digest : "-",
                 in->head_set ? in->head_set->digest : "-", names);
    return in->identity ? NPR_OK : npr_last();
}

npr_status npr_search_inputs_read(const npr_comm *comm, const npr_log *log, const npr_search_job *job,
                                  npr_search_inputs *in)
{
    *in = (npr_search_inputs){0};
    int caption = !strcmp(job->mode, "caption");
    NPR_TRY(npr_agree(comm, check_job(job), "options"));
    NPR_TRY(open_set(comm, job->index, &in->index));
    if (job->head) {
        int compared = head_judges(job) || (!caption && !job->queries);
        NPR_TRY(open_vectors(comm, log, in, job->head, compared, &in->head_set, &in->head));
    }
    if (job->queries) NPR_TRY(open_vectors(comm, log, in, job->queries, 1, &in->query_set, &in->queries));
    NPR_TRY(npr_agree(comm, check_columns(job, in), "options"));
    if (caption) {
        NPR_TRY(prepare_names(comm, job, in));
        warn_of_names(log, in->phrases);
    } else {
        in->by = job->queries ? &in->queries : &in->head;
    }
    npr_status st = make_lists(in);
    if (!st) st = check_labels(job, in);
    if (!st) st = make_identity(job, in);
    return npr_agree(comm, st, "options");
}

npr_queries npr_search_queries_view(const npr_queries *q, int q0, int q1)
{
    npr_queries v = *q;
    v.nq = q1 - q0;
    v.vector += (size_t)q0 * (size_t)q->dim;
    v.label += q0;
    v.id += q0;
    if (v.name) v.name += q0;
    return v;
}

void npr_search_inputs_free(npr_search_inputs *in)
{
    npr_set_free(in->index);
    npr_set_free(in->query_set);
    npr_set_free(in->head_set);
    npr_queries_free(&in->queries);
    npr_queries_free(&in->head);
    npr_phrases_free(in->phrases);
    free(in->names);
    free(in->label);
    free(in->name);
    free(in->identity);
    *in = (npr_search_inputs){0};
}
