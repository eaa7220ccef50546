/* factory.c - FAISS's factory strings, as far as bytes and seconds depend on them. See npr/plan.h. FAISS
 * itself decides what is a factory string (npr_faiss_check). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "npr/plan.h"

static double number_after(const char *text, const char *word)
{
    const char *at = strstr(text, word);
    return at ? strtod(at + strlen(word), NULL) : 0;
}

/* The last word of the string: how rows are kept. */
static void read_code(const char *word, npr_plan_factory *f)
{
    int m = 0, bits = 8;
    if (sscanf(word, "PQ%dx%d", &m, &bits) >= 1 && m > 0) {
        int fast = strstr(word, "fs") != NULL;
        f->code = fast ? NPR_CODE_FS : NPR_CODE_PQ;
        f->subs = m;
        f->codes = 1 << (bits < 16 ? bits : 16);
        f->code_bytes = (double)m * bits / 8;
        f->polysemous = !fast && bits == 8 && !strstr(word, "np");
    } else if (!strncmp(word, "SQfp16", 6)) {
        f->code = NPR_CODE_SQ;
        f->code_bytes = 2 * f->inside;
    } else if (sscanf(word, "SQ%d", &bits) == 1) {
        f->code = NPR_CODE_SQ;
        f->code_bytes = f->inside * bits / 8;
    } else if (!strncmp(word, "Flat", 4) || !strncmp(word, "HNSW", 4)) {
        f->code = NPR_CODE_FLAT;
        f->code_bytes = 4 * f->inside;
    }
}

/* Columns after the transform that the string begins with. */
static double turned_dim(const char *text, int dim)
{
    int m, out = dim;
    if (sscanf(text, "OPQ%d_%d", &m, &out) == 2 || sscanf(text, "PCA%d", &out) == 1 ||
        sscanf(text, "PCAR%d", &out) == 1)
        return out;
    return dim;
}

/* "IVFn," or "IVFn_HNSWm,": lists of vectors as they are. */
static int lists_are_open(const char *text)
{
    static const char digits[] = "0123456789";
    const char *end = text + 3;
    if (strncmp(text, "IVF", 3) != 0) return 0;
    end += strspn(end, digits);
    if (!strncmp(end, "_HNSW", 5)) end += 5 + strspn(end + 5, digits);
    return *end == ',';
}

npr_plan_factory npr_plan_factory_read(const char *text, int dim)
{
    npr_plan_factory f = {.inside = turned_dim(text, dim)};
    const char *last = strrchr(text, ',');
    int transform = !strncmp(text, "OPQ", 3) || !strncmp(text, "PCA", 3);
    read_code(last ? last + 1 : text, &f);
    if (!(f.code_bytes > 0)) return (npr_plan_factory){0};
    f.known = 1;
    f.lists = number_after(text, "IVF");
    *(f.lists > 0 ? &f.coarse_links : &f.links) = number_after(text, "HNSW");
    f.row = f.code_bytes + 8 + 8 * f.links;
    f.part = f.lists * (f.inside * 4 + 8 * f.coarse_links) + (transform && last ? f.inside * dim * 4 : 0) +
             f.codes * f.inside * 4;
    if (f.code == NPR_CODE_FS)
        f.part += f.lists * 16 * f.code_bytes; /* lists are padded to blocks of 32 codes */
    /* floats of the sample, and once more after the transform */
    f.sample = 6.0 * dim + 16 + (transform ? 4 * f.inside : 0);
    f.spread = lists_are_open(text);
    return f;
}
