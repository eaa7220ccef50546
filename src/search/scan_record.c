/* scan_record.c - see scan_record.h. */
#include "search/scan_record.h"

#include <limits.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"

enum { FORMAT = 8 }; /* 8: where lists of candidates were cut among equal scores */

typedef struct candidate {
    float score;
    uint32_t row;
} candidate;

/* What a record says of a list besides its counts. */
typedef struct of_list {
    int64_t hits; /* of the part */
    double tie;   /* candidates: npr_proposed.tie, NaN: the list was not cut among equal scores */
} of_list;

npr_scan_key npr_scan_key_of(const npr_search_pass *pass)
{
    return (npr_scan_key){.format = FORMAT,
                          .kind = pass->kind,
                          .list0 = pass->list0,
                          .list1 = pass->list1,
                          .k = pass->k,
                          .nprobe = pass->nprobe,
                          .refine = pass->refine};
}

static size_t hit_bytes(int64_t kind)
{
    return kind == SEARCH_CANDIDATES || kind == SEARCH_MORE ? sizeof(candidate) : sizeof(npr_hit);
}

/* Hits of the part in list q; how many. */
static int64_t write_hits(char *to, const npr_topk *lists, int q, int part)
{
    const npr_hit *hit = npr_topk_list(lists, q);
    int64_t n = 0;
    for (int i = 0; i < npr_topk_count(lists, q); i++) {
        if (npr_place_part(hit[i].place) != part) continue;
        memcpy(to + (size_t)n++ * sizeof *hit, &hit[i], sizeof *hit);
    }
    return n;
}

/* Candidates of the part, which stand together: at the end of a list if the part came last. */
static int64_t write_candidates(char *to, const npr_proposed *l, int part, int last)
{
    int64_t end = l->n;
    while (!last && end > 0 && npr_place_part(l->place[end - 1]) != part) end--;
    int64_t from = end;
    while (from > 0 && npr_place_part(l->place[from - 1]) == part) from--;
    for (int64_t i = from; i < end; i++) {
        candidate c = {l->score[i], (uint32_t)npr_place_row(l->place[i])};
        memcpy(to + (size_t)(i - from) * sizeof c, &c, sizeof c);
    }
    return end - from;
}

static size_t counts_bytes(int64_t lists)
{
    return (size_t)lists * NPR_TALLY_FIELDS * sizeof(int64_t);
}

npr_status npr_scan_record_make(const npr_search_pass *pass, int part, const npr_scan_hits *hits,
                                const npr_tally *of_part, char **record, size_t *cap, size_t *n)
{
    int nq = pass->list1 - pass->list0;
    size_t counts = counts_bytes(nq), each = hit_bytes(pass->kind);
    npr_scan_record head = {.pass = npr_scan_key_of(pass),
                            .part = part,
                            .asked = hits->candidates ? hits->asked[part] : 0,
                            .non_finite = of_part->non_finite,
                            .rows = of_part->rows,
                            .bytes = of_part->bytes};
    *n = sizeof head + counts + (size_t)nq * sizeof(of_list);
    NPR_TRY(npr_grow(record, cap, *n, 1, "a journal record"));
    memcpy(*record + sizeof head, of_part->count, counts);
    int last = pass->kind == SEARCH_CANDIDATES; /* asked again, only some lists have it at their end */
    for (int q = 0; q < nq; q++) {
        const npr_proposed *l = hits->candidates ? &hits->candidates->list[q] : NULL;
        int64_t most = l ? l->n : npr_topk_count(hits->lists, q);
        NPR_TRY(npr_grow(record, cap, *n + (size_t)most * each, 1, "a journal record"));
        of_list mine = {.tie = l && l->tied ? (double)l->tie : NAN};
        mine.hits = l ? write_candidates(*record + *n, l, part, last)
                      : write_hits(*record + *n, hits->lists, q, part);
        *n += (size_t)mine.hits * each;
        memcpy(*record + sizeof head + counts + (size_t)q * sizeof mine, &mine, sizeof mine);
        head.hits += mine.hits;
    }
    memcpy(*record, &head, sizeof head);
    return NPR_OK;
}

int npr_scan_record_read(int parts, const char *bytes, size_t n, npr_scan_record *head)
{
    if (n < sizeof *head) return 0;
    memcpy(head, bytes, sizeof *head);
    const npr_scan_key *pass = &head->pass;
    if (pass->format != FORMAT || pass->list0 < 0 || pass->list1 <= pass->list0 || pass->list1 > INT_MAX)
        return 0;
    int64_t lists = pass->list1 - pass->list0;
    size_t fixed = sizeof *head + counts_bytes(lists) + (size_t)lists * sizeof(of_list);
    size_t each = hit_bytes(pass->kind);
    if (head->part < 0 || head->part >= parts || n < fixed) return 0;
    return (n - fixed) / each == (size_t)head->hits && (n - fixed) % each == 0;
}

/* A hit of list q, as it was written. */
static npr_status take_hit(const npr_scan_record *head, const char *from, const npr_scan_hits *hits, int q)
{
    npr_hit hit;
    candidate c;
    if (hits->candidates) {
        memcpy(&c, from, sizeof c);
        return npr_proposals_push(hits->candidates, q, c.score, npr_place((int)head->part, c.row));
    }
    memcpy(&hit, from, sizeof hit);
    return npr_topk_push(hits->lists, q, hit);
}

npr_status npr_scan_record_take(const npr_scan_record *head, const char *bytes, const npr_scan_hits *hits,
                                npr_tally *of_part)
{
    int nq = (int)(head->pass.list1 - head->pass.list0);
    size_t counts = counts_bytes(nq), each = hit_bytes(head->pass.kind);
    memcpy(of_part->count, bytes + sizeof *head, counts);
    of_part->non_finite = head->non_finite;
    of_part->rows = head->rows;
    of_part->bytes = head->bytes;
    if (hits->candidates) hits->asked[head->part] = head->asked;
    const char *per_list = bytes + sizeof *head + counts, *hit = per_list + (size_t)nq * sizeof(of_list);
    const char *end = hit + (size_t)head->hits * each;
    for (int q = 0; q < nq; q++) {
        of_list mine;
        memcpy(&mine, per_list + (size_t)q * sizeof mine, sizeof mine);
        for (; mine.hits > 0 && hit < end; mine.hits--, hit += each) NPR_TRY(take_hit(head, hit, hits, q));
        if (hits->candidates && !isnan(mine.tie))
            npr_proposed_tie(&hits->candidates->list[q], (float)mine.tie);
    }
    return NPR_OK;
}
