/* proposals_mpi.c - the k best proposals of all ranks, and rows given to the ranks that score them. See
 * proposals.h.
 *
 * No list is sent: ranks find the k-th hit of each list digit by digit. They count their hits by the first
 * digit of a key whose order is that of the hits, add the counts up, and see in which digit the k-th hit
 * lies; then the same among the hits of that digit. Twelve sums of 2 KiB a list say what 12 or more bytes for
 * each of k hits would. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "search/faiss/proposals.h"

enum {
    LISTS = 1024, /* searched at a time: 2 MiB of counts */
    DIGITS = 256, /* values of a digit */
    OF_SCORE = 4, /* digits of a key: first the score's, */
    OF_PLACE = 8, /* then the place's */
    ROUGHLY = 3,  /* digits that find a hit roughly */
    TAG_PAIRS = 83
};

/* The search for the k-th hit of one list. */
typedef struct seeking {
    uint32_t score; /* of its key, as far as digits are known */
    uint64_t place;
    int64_t left; /* it is so manieth of those that begin like it */
    int found;    /* all of those are wanted, or, -1, all hits there are */
} seeking;

/* Does a hit begin like the one that is sought, in its first d digits; its next digit? -1: it does not. */
static int digit_of(const seeking *s, int d, float score, int64_t at)
{
    uint32_t key = npr_score_key(score);
    uint64_t place = (uint64_t)at;
    if (d < OF_SCORE) {
        int shift = 8 * (OF_SCORE - 1 - d);
        if (d && (key ^ s->score) >> (shift + 8)) return -1;
        return key >> shift & (DIGITS - 1);
    }
    int shift = 8 * (OF_SCORE + OF_PLACE - 1 - d);
    if (key != s->score || (d > OF_SCORE && (place ^ s->place) >> (shift + 8))) return -1;
    return (int)(place >> shift & (DIGITS - 1));
}

static void count_digits(const npr_proposed *l, const seeking *s, int d, int64_t *count)
{
    for (int64_t i = 0; i < l->n; i++) {
        int digit = digit_of(s, d, l->score[i], l->place[i]);
        if (digit >= 0) count[digit]++;
    }
}

/* All digits from d on are as large as they can be: a place has 63 bits. */
static void fill(seeking *s, int d)
{
    int of_place = d > OF_SCORE ? d - OF_SCORE : 0;
    if (d < OF_SCORE) s->score |= (uint32_t)(UINT64_C(0xffffffff) >> 8 * d);
    if (of_place < OF_PLACE) s->place |= UINT64_MAX >> (of_place ? 8 * of_place : 1);
}

/* Choose digit d by the counts of all ranks. `whole`: do not look for the last hit among hits that are all
 * wanted. */
static void choose(seeking *s, int d, const int64_t *count, int whole)
{
    int digit = 0;
    while (digit < DIGITS && count[digit] < s->left) s->left -= count[digit++];
    if (digit == DIGITS) { /* there are fewer than k hits */
        s->found = -1;
        return;
    }
    if (d < OF_SCORE)
        s->score |= (uint32_t)digit << 8 * (OF_SCORE - 1 - d);
    else
        s->place |= (uint64_t)digit << 8 * (OF_SCORE + OF_PLACE - 1 - d);
    s->found = whole && count[digit] == s->left;
    if (s->found) fill(s, d + 1);
}

/* The lists q0 .. q0+n-1. */
static void seek(const npr_comm *comm, const npr_proposals *p, int q0, int n, int digits, seeking *s,
                 int64_t *count)
{
    for (int i = 0; i < n; i++) s[i] = (seeking){.left = p->k};
    for (int d = 0, open = n; d < digits && open; d++) {
        size_t cells = (size_t)n * DIGITS;
        memset(count, 0, cells * sizeof *count);
        for (int i = 0; i < n; i++)
            if (!s[i].found) count_digits(&p->list[q0 + i], &s[i], d, count + (size_t)i * DIGITS);
        npr_sum_i64(comm, count, cells);
        open = 0;
        for (int i = 0; i < n; i++) {
            if (!s[i].found) choose(&s[i], d, count + (size_t)i * DIGITS, digits > ROUGHLY);
            open += !s[i].found;
        }
    }
    for (int i = 0; i < n; i++)
        if (!s[i].found) fill(&s[i], digits);
}

static npr_status seek_all(const npr_comm *comm, npr_proposals *p, int digits, npr_bound *bound)
{
    int most = p->nq < LISTS ? p->nq : LISTS;
    seeking *s = npr_alloc((size_t)most, sizeof *s, "candidates of all ranks");
    int64_t *count = npr_alloc((size_t)most * DIGITS, sizeof *count, "candidates of all ranks");
    npr_status st = npr_agree(comm, s && count ? NPR_OK : npr_last(), "merge");
    for (int q = 0, n; q < p->nq && !st; q += n) {
        n = p->nq - q < LISTS ? p->nq - q : LISTS;
        seek(comm, p, q, n, digits, s, count);
        for (int i = 0; i < n; i++)
            bound[q + i] = s[i].found < 0 ? (npr_bound){-INFINITY, INT64_MAX}
                                          : (npr_bound){npr_score_of_key(s[i].score), (int64_t)s[i].place};
    }
    free(s);
    free(count);
    return st;
}

npr_status npr_proposals_bounds(const npr_comm *comm, npr_proposals *p, int roughly, npr_bound *bound)
{
    if (comm->size == 1) return npr_proposals_bounds_here(p, bound);
    return seek_all(comm, p, roughly ? ROUGHLY : OF_SCORE + OF_PLACE, bound);
}

npr_status npr_proposals_cut_all(const npr_comm *comm, npr_proposals *p, int roughly)
{
    npr_bound *bound = npr_alloc((size_t)p->nq, sizeof *bound, "candidates of all ranks");
    npr_status st = npr_agree(comm, bound ? NPR_OK : npr_last(), "merge");
    if (!st) st = npr_proposals_bounds(comm, p, roughly, bound);
    if (!st) npr_proposals_raise(p, bound);
    free(bound);
    return st;
}

/* ---- rows to be scored --------------------------------------------------------------------------------- */

/* What is known of the pairs of all ranks, by part. */
typedef struct deal {
    const npr_comm *comm;
    const int *reader;
    int64_t piece;         /* pairs of a message */
    int64_t *pairs, *home; /* [parts]; home: the rank that has them, and 1 */
} deal;

static void move_part(const deal *d, int part, const npr_pair *from, npr_pair *to)
{
    int rank = d->comm->rank, home = (int)d->home[part] - 1, reader = d->reader[part];
    int64_t left = d->pairs[part];
    if (home == rank && reader == rank) {
        memcpy(to, from, (size_t)left * sizeof *from);
        return;
    }
    for (int64_t n; left; left -= n, from += n, to += n) {
        n = left < d->piece ? left : d->piece;
        int bytes = npr_mpi_count((size_t)n * sizeof *from);
        if (home == rank && reader >= 0)
            MPI_Send(from, bytes, MPI_BYTE, reader, TAG_PAIRS, d->comm->mpi);
        else if (home >= 0 && reader == rank)
            MPI_Recv(to, bytes, MPI_BYTE, home, TAG_PAIRS, d->comm->mpi, MPI_STATUS_IGNORE);
    }
}

static npr_status know(const deal *d, const npr_chosen *c, npr_chosen *mine)
{
    size_t parts = (size_t)c->parts;
    mine->first = npr_alloc(parts + 2, sizeof *mine->first, "candidates by part");
    if (!d->pairs || !d->home || !mine->first) return npr_last();
    for (size_t p = 0; p < parts; p++) {
        d->pairs[p] = c->first[p + 1] - c->first[p];
        if (d->pairs[p]) d->home[p] = d->comm->rank + 1;
    }
    return NPR_OK;
}

/* Do any rows move? Where they are known, after all ranks have said what they have. */
static int any_moves(const deal *d, int parts)
{
    int moves = 0;
    npr_sum_i64(d->comm, d->pairs, (size_t)parts);
    npr_max_i64(d->comm, d->home, (size_t)parts);
    for (int p = 0; p < parts; p++) moves |= d->home[p] && d->home[p] - 1 != d->reader[p];
    return moves;
}

npr_status npr_chosen_deal(const npr_comm *comm, npr_chosen *c, const int *reader, int64_t piece)
{
    size_t parts = (size_t)c->parts;
    npr_chosen mine = {.parts = c->parts};
    deal d = {.comm = comm,
              .reader = reader,
              .piece = piece,
              .pairs = npr_alloc(parts, sizeof *d.pairs, "candidates by part"),
              .home = npr_alloc(parts, sizeof *d.home, "candidates by part")};
    npr_status st = npr_agree(comm, know(&d, c, &mine), "candidates");
    int moves = !st && any_moves(&d, c->parts);
    if (moves) {
        for (size_t p = 0; p < parts; p++)
            mine.first[p + 1] = mine.first[p] + (reader[p] == comm->rank ? d.pairs[p] : 0);
        mine.pair = npr_alloc_aligned((size_t)mine.first[parts], sizeof *mine.pair, "candidates by part");
        st = npr_agree(comm, mine.pair ? NPR_OK : npr_last(), "candidates");
        /* in the same order everywhere: so a rank that waits, waits for one that is not behind it */
        for (int p = 0; p < c->parts && !st; p++)
            move_part(&d, p, c->pair + c->first[p], mine.pair + mine.first[p]);
    }
    if (moves && !st) {
        npr_chosen_free(c);
        *c = mine;
    } else {
        npr_chosen_free(&mine);
    }
    free(d.pairs);
    free(d.home);
    return st;
}
