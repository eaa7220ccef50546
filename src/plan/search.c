/* search.c - npr-search: exact, captions, FAISS. See npr/plan.h. A pass reads and scores at once (tiles.c);
 * the merge sends the lists twice over a link and waits 2 log2(ranks) latencies (topk_mpi.c); the pool's rows
 * are read out of their chunks and written. */
#include <math.h>

#include "plan/phase.h"

static const double LISTS_BYTES = 1 << 30; /* of the lists of one batch, when the batch is ours to choose */

enum { ROW_COLUMNS = 24, TEXT_ROW = 256, CHUNK = 1024 };

/* Candidates of some blocks of queries, of one at least (scan_faiss.c). Bytes of one as it waits to be scored
 * (twice where it is given to another rank), and besides while its part is; and of a row of that part
 * (scan_rescore.c). Of a sum of counts by which a list is cut for all ranks (proposals_mpi.c). */
static const double PAIRS_MAX = 1 << 22, PAIR = 8, SCORED = 16, PART_ROW = 12, COUNTS = 2048;

int npr_plan_faiss_block(double queries, double candidates)
{
    enum { LEAST = NPR_PLAN_FAISS_BLOCK, MOST = 16, SHARE = 16, TOGETHER = 8 };
    double most = fmin(MOST, floor(PAIRS_MAX / TOGETHER / LEAST / candidates));
    return LEAST * (int)fmax(fmin(floor(queries / (SHARE * LEAST)), most), 1);
}

/* Candidates of a query, of all parts together. */
static double candidates(const npr_plan_search_shape *s)
{
    return fmax(fmin(s->k * s->refine, s->rows), 1);
}

/* Bytes of lists for one query: of FAISS's candidates; of these and what is scored after them. */
static double list_bytes(const npr_plan_search_shape *s)
{
    double hits = NPR_PLAN_LIST * fmax(fmin(s->k, s->rows), 1);
    if (s->mode != NPR_PLAN_FAISS) return hits;
    return fmax(NPR_PLAN_CANDIDATE * candidates(s), 2 * PAIR * candidates(s) + hits);
}

enum { RESIDENT_ROW = 32 }; /* bytes of the other columns of a row that stays in memory, at most */

static int reads_vectors(const npr_plan_search_shape *s)
{
    return s->mode != NPR_PLAN_CAPTION || s->filter;
}

/* Of one part at a time: its index, as bytes and as FAISS's, with its answers; or its candidates and rows. */
static double part_bytes(const npr_plan_search_shape *s, double block, double batch)
{
    npr_plan_index_shape x = {
        .rows = s->rows, .dim = s->dim, .part_rows = s->part_rows, .factory = s->factory};
    double part = fmin(s->part_rows, s->rows), of_part = fmin(candidates(s), part), most = batch * of_part;
    double asked = 12 * fmin(fmax(PAIRS_MAX, block * of_part), most) + 4 * part;
    if (s->factory.known) asked += 2 * npr_plan_index_bytes(&x, part);
    return fmax(asked, SCORED * most + PART_ROW * part);
}

npr_plan_search_memory npr_plan_search_parts(const npr_plan_search_shape *s)
{
    npr_plan_search_memory n = {0};
    double room = fmin(s->k, s->rows);
    n.batch = s->batch > 0 ? s->batch : floor(LISTS_BYTES / list_bytes(s));
    double block = npr_plan_faiss_block(s->lists, candidates(s));
    if (s->mode == NPR_PLAN_FAISS) n.batch = ceil(fmax(n.batch, 1) / block) * block;
    n.batch = fmax(fmin(n.batch, s->lists), 1);
    n.batches = ceil(s->lists / n.batch);
    int caption = s->mode == NPR_PLAN_CAPTION;
    double row = caption ? TEXT_ROW : s->dim * 2 + ROW_COLUMNS, scores = caption ? 0 : 4 * n.batch;
    n.tiles = 2 * s->tile_rows * row + s->tile_rows * scores / 8;
    n.lists = n.batch * list_bytes(s);
    if (s->mode == NPR_PLAN_EXACT && n.batches > 1)
        n.resident = fmin(s->resident, s->rows * (2 * s->dim + RESIDENT_ROW));
    n.queries = reads_vectors(s) ? 3 * s->lists * s->dim * 4 : 0;
    n.plan = s->lists * room * NPR_PLAN_POOL_ROW;
    n.window = NPR_PLAN_WINDOW_MB * 1048576.0;
    if (s->mode == NPR_PLAN_FAISS) n.index = part_bytes(s, block, n.batch);
    return n;
}

/* Bytes of a whole search, at most: a pass reads embeddings and ids, or of the rest at most everything. */
static double bytes_read(const npr_plan_search_shape *s, double batches)
{
    double emb = s->rows * s->dim * 2, rest = fmax(s->file - emb, 0);
    if (s->mode == NPR_PLAN_CAPTION) {
        if (s->file <= 0) rest = s->rows * (s->tokens + 8);
        return batches * (rest + (s->filter ? emb : 0));
    }
    if (s->mode == NPR_PLAN_EXACT) return batches * (emb + s->rows * ROW_COLUMNS);
    npr_plan_index_shape x = {
        .rows = s->rows, .dim = s->dim, .part_rows = s->part_rows, .factory = s->factory};
    double index = npr_plan_index_bytes(&x, s->rows), truth = s->recall_queries > 0 ? emb : 0;
    return batches * ((isnan(index) ? emb : index) + emb) + truth;
}

/* ---- seconds ------------------------------------------------------------------------------------------- */

typedef struct work {
    const npr_plan_search_shape *s;
    const npr_plan_cluster *c;
    const npr_plan_machine *m;
    double busiest, parts; /* rows and parts of the rank with most */
    double team;
} work;

/* Seconds per row and value for q queries at once: between measured points on a line, beyond them in
 * proportion. */
static double cost_of(const npr_plan_machine *m, double q)
{
    int i = 0;
    while (i < NPR_PLAN_BATCHES && npr_plan_batch[i] < q) i++;
    if (i == NPR_PLAN_BATCHES) return m->exact[i - 1] * q / npr_plan_batch[i - 1];
    if (i == 0) return m->exact[0];
    double from = npr_plan_batch[i - 1], to = npr_plan_batch[i], part = (q - from) / (to - from);
    return m->exact[i - 1] + part * (m->exact[i] - m->exact[i - 1]);
}

/* What a node reads of `bytes` that a rank of it reads, from the page cache and from the file system. */
static double reading(const work *w, double bytes, double rate)
{
    return npr_plan_slower(bytes / rate, bytes * npr_plan_ranks_per_node(w->c) / w->c->read);
}

/* One pass with q queries over all rows, of which a share is in memory already. Rows are read while others
 * are scored, by a thread more: its copies and checksums take time of the cores that score. */
static double exact_pass(const work *w, double q, double k, double there)
{
    double screen = w->busiest * w->s->dim * cost_of(w->m, q) / w->team +
                    q * npr_plan_hits(w->busiest, k) * w->m->exact_hit / w->team;
    double bytes = (1 - there) * w->busiest * (2 * w->s->dim + 8);
    double copied = bytes / (w->m->part_read * w->c->threads); /* by one thread, while all want its core */
    return npr_plan_slower(screen + copied, reading(w, bytes, w->m->part_read));
}

static void exact_seconds(const work *w, const npr_plan_search_memory *mem, npr_plan_needs *n)
{
    double last = w->s->lists - (mem->batches - 1) * mem->batch; /* lists of the last batch */
    double there =
        fmin(floor(mem->resident / (w->busiest * (2 * w->s->dim + RESIDENT_ROW)) * w->parts) / w->parts, 1);
    double scan = exact_pass(w, last, w->s->k, mem->batches > 1 ? there : 0);
    if (mem->batches > 1) scan += exact_pass(w, mem->batch, w->s->k, 0);
    if (mem->batches > 2) scan += (mem->batches - 2) * exact_pass(w, mem->batch, w->s->k, there);
    npr_plan_add(
        n, "scan", scan,
        "per batch the slower of rows x dim x exact(queries) + hits x exact_hit + bytes / (part_read x "
        "threads), and bytes / part_read or file system; parts in memory are not read again");
}

static void caption_seconds(const work *w, const npr_plan_search_memory *mem, npr_plan_needs *n)
{
    double bytes = w->busiest * (w->s->tokens + 8), matches = w->busiest * w->s->matches;
    double scan = bytes / (w->m->caption * w->team), found = matches * w->m->caption_match;
    if (w->s->filter) { /* their vectors, in chunks that are read whole, scored with all classes;
                           caption_filter has the page cache's time */
        /* a batch has its share of the names */
        double chunks = 1 - exp(-CHUNK * w->s->matches / mem->batches);
        found = npr_plan_slower(matches * w->s->dim * w->s->classes * w->m->caption_filter / w->team,
                                mem->batches * reading(w, chunks * w->busiest * 2 * w->s->dim, INFINITY));
    }
    npr_plan_add(n, "scan", mem->batches * npr_plan_slower(scan, reading(w, bytes, INFINITY)),
                 "bytes of tokens / caption, or file system");
    npr_plan_add(
        n, "matches", found,
        "matches x caption_match, or the slower of matches x dim x classes x caption_filter and file system");
}

/* Rows of an index that candidates name: q queries with so many each, spread evenly. */
static double rows_named(double rows, double candidates)
{
    return rows * (1 - exp(-candidates / rows));
}

/* Rows that enter FAISS's lists of one query: each part is asked for as many as are likely to be among the
 * candidates of all, or for all where that is half (scan_faiss.c). Not planned: parts that are unlike, which
 * are asked again. */
static double list_hits(const work *w, double probed)
{
    enum { ASK_LEAST = 16 };
    double rows = probed * w->busiest / w->parts, all = candidates(w->s);
    double even = all / ceil(w->s->rows / w->s->part_rows), asked = even + 4 * sqrt(even) + ASK_LEAST;
    return w->parts * npr_plan_hits(rows, 2 * asked < all ? asked : all);
}

/* Bytes by which the candidates of a query are cut for all ranks: 12 sums of 256 counts, again where parts
 * are asked for more, and three of them after 1, 2, 4 ... rounds of parts. */
static double counts(double rounds)
{
    return COUNTS * (2 * 12 + 3 * ceil(log2(fmax(rounds, 1)) + 1));
}

static void faiss_seconds(const work *w, const npr_plan_search_memory *mem, npr_plan_needs *n)
{
    const npr_plan_search_shape *s = w->s;
    const npr_plan_machine *m = w->m;
    const npr_plan_factory *f = &s->factory;
    double part = fmin(s->part_rows, s->rows), parts = ceil(s->rows / s->part_rows);
    double of_part = s->lists * candidates(s) / parts; /* candidates that lie in a part */
    npr_plan_index_shape x = {.rows = s->rows, .dim = s->dim, .part_rows = s->part_rows, .factory = *f};
    double bytes = npr_plan_index_bytes(&x, w->busiest);
    npr_plan_add(n, "load", mem->batches * reading(w, bytes, m->index_load),
                 "per batch bytes of the index / index_load, or file system");
    double probed = f->lists > 0 ? fmin(s->probes / f->lists, 1) : 1;
    npr_plan_add(n, "lists", w->parts * s->lists * npr_plan_compared(f) * s->dim * 4 / (m->coarse * w->team),
                 "queries x centroids of every part / coarse");
    if (f->subs > 0)
        npr_plan_add(n, "tables", w->parts * s->lists * 2 * f->codes * f->inside / (m->tables * w->team),
                     "queries x 2 x codes x dim of every part / tables");
    npr_plan_add(n, "codes", s->lists * probed * w->busiest * f->code_bytes / (m->code[f->code] * w->team),
                 "queries x bytes of the lists probed / code");
    npr_plan_add(n, "hits", s->lists * list_hits(w, probed) * m->code_hit[f->code] / w->team,
                 "queries x rows that enter FAISS's lists x code_hit");
    double chunks = part / CHUNK, named = rows_named(part, of_part / mem->batches);
    double touched = chunks * (1 - exp(-named / chunks));
    double pick =
        mem->batches * w->parts * (named * m->part_pick + touched * CHUNK * (2 * s->dim + 8) / m->part_read);
    npr_plan_add(n, "pick", pick, "rows named x part_pick + chunks touched / part_read");
    npr_plan_add(n, "rescore", w->parts * of_part * s->dim * m->candidate / w->team,
                 "candidates x dim x candidate");
    if (s->recall_queries > 0)
        npr_plan_add(n, "recall", exact_pass(w, fmin(s->recall_queries, s->lists), s->k, 0),
                     "an exact pass with so many queries");
    if (!f->known || f->links > 0) npr_plan_add(n, "graph", NAN, "not planned: this kind of index");
}

/* The pool: its rows read, sent, written. */
static void pool_seconds(const work *w, npr_plan_needs *n)
{
    const npr_plan_search_shape *s = w->s;
    double rows = s->pool_rows > 0 ? s->pool_rows : s->lists * fmin(s->k, s->rows),
           parts = ceil(rows / s->pool_part_rows);
    double row = s->row_bytes > 0 ? s->row_bytes : s->file > 0 ? s->file / s->rows : 2 * s->dim + ROW_COLUMNS;
    double chunks = s->rows / CHUNK, touched = chunks * (1 - exp(-rows / chunks));
    double read = touched * CHUNK * row / w->c->ranks;
    double write = rows * w->m->pool_row / fmin(parts, w->c->ranks);
    npr_plan_add(
        n, "pool", reading(w, read, w->m->part_read) + write,
        "chunks touched / part_read or file system + rows of the pool x pool_row / its parts or ranks");
    if (s->urls) npr_plan_add(n, "urls", rows * w->m->url_row, "rows of the pool x url_row, on rank 0");
}

npr_plan_needs npr_plan_search(const npr_plan_search_shape *s, const npr_plan_cluster *c,
                               const npr_plan_machine *m)
{
    npr_plan_search_memory mem = npr_plan_search_parts(s);
    double room = fmin(s->k, s->rows), parts = ceil(s->rows / s->part_rows), merged = s->lists * room;
    npr_plan_needs n = {.files = fmax(ceil(merged / s->pool_part_rows), 1),
                        .read = bytes_read(s, mem.batches),
                        .busy = fmin(parts, c->ranks)};
    double pool = s->pool_rows > 0 ? s->pool_rows : merged;
    n.disk = pool * (s->row_bytes > 0 ? s->row_bytes : 2 * s->dim + ROW_COLUMNS);
    double sent =
        merged * NPR_PLAN_HIT + (s->mode == NPR_PLAN_FAISS ? s->lists * counts(parts / c->ranks) : 0);
    double gone_over = merged + (s->mode == NPR_PLAN_FAISS ? s->lists * candidates(s) : 0);
    n.sent = c->ranks > 1 ? 2 * (c->ranks - 1) / c->ranks * sent : 0;
    /* The lists of a batch are gone when the pool is written. */
    n.memory = fmax(mem.tiles + mem.lists + mem.index + mem.resident, mem.window) + mem.queries + mem.plan;
    if (!m) return n;
    work w = {.s = s, .c = c, .m = m, .team = npr_plan_team(c, m)};
    w.busiest = npr_plan_busiest(s->rows, s->part_rows, c->ranks);
    w.parts = ceil(parts / c->ranks);
    npr_plan_add(&n, "start", m->pool_start, "sets opened, journals, a pool without rows");
    if (s->rows <= 0) return n;
    if (s->mode == NPR_PLAN_EXACT) exact_seconds(&w, &mem, &n);
    if (s->mode == NPR_PLAN_CAPTION) caption_seconds(&w, &mem, &n);
    if (s->mode == NPR_PLAN_FAISS) faiss_seconds(&w, &mem, &n);
    if (c->ranks > 1) { /* of candidates, too */
        double merges = mem.batches * (s->mode == NPR_PLAN_FAISS ? 2 : 1);
        npr_plan_add(
            &n, "merge", merges * npr_plan_message(c, n.sent / merges) + gone_over * m->merge_hit,
            "per merge 2 log2(ranks) alpha + bytes of the lists, or of counts of candidates, twice / "
            "bandwidth + hits x merge_hit");
    }
    pool_seconds(&w, &n);
    return n;
}
