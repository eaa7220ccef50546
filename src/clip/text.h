/* text.h - prompts to the rows of a head, on the threads of one rank (text_batch.c). Local. */
#ifndef NPR_CLIP_TEXT_H
#define NPR_CLIP_TEXT_H

#include "npr/clip.h"

typedef struct npr_texter npr_texter;

/* prompts [sets]: of the same classes, from templates and from JSON. All are the caller's, and outlive it. */
npr_status npr_texter_make(const npr_clip *clip, const npr_tokenizer *tokenizer, const npr_prompts *prompts,
                           int sets, int threads, npr_texter **out);
void npr_texter_free(npr_texter *t); /* NULL is fine */

/* Rows of classes first .. first + n - 1, weight [n][embed_dim]: the mean of a class's unit features, to unit
 * norm; of two sets of prompts the plain average. Sums are in double, in the order of the prompts. between:
 * see team.h. */
npr_status npr_texter_run(npr_texter *t, int64_t first, int64_t n, float *weight,
                          npr_status (*between)(void *context, int64_t done), void *context);

#endif
