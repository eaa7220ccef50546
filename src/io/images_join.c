/* images_join.c - where the picture of a pool's row lies that was downloaded for it. See images.h. */
#include "base/mem.h"
#include "io/images.h"

npr_status npr_images_put_joined(const npr_images_plan *plan, int64_t i, npr_images_rows *b, char **scratch,
                                 size_t *cap)
{
    const npr_join *join = &plan->join;
    npr_rows *r = &b->rows;
    npr_image_at *at = &b->at[i];
    const npr_joined *e;
    int state, changes;
    size_t n = 0;
    NPR_TRY(npr_join_row(join, r, i, &e, &state, &changes, scratch, cap));
    const char *url = r->columns & NPR_COL(NPR_URL) ? npr_text_at(&r->url, i, &n) : "";
    at->name = e ? npr_strdup(npr_join_container(join, e)) : npr_path("%.*s", (int)n, url);
    at->path = npr_strdup(e ? join->tar.path[e->file] : "");
    if (!at->name || !at->path) return npr_last();
    if (!e) at->skip = state == NPR_JOIN_DEAD ? NPR_SKIP_DEAD : NPR_SKIP_MISSING;
    if (changes && join->options.drop_changed) at->skip = NPR_SKIP_CHANGED;
    if (!e) return NPR_OK;
    at->offset = e->offset;
    at->bytes = e->bytes;
    int64_t *source = r->source + 3 * i;
    NPR_TRY(npr_rows_container(r, at->name, &source[0]));
    source[1] = e->offset;
    source[2] = e->bytes;
    return NPR_OK;
}
