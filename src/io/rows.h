/* rows.h - the table of columns: how each lies in memory (npr_rows) and in the datasets of a part. Local. */
#ifndef NPR_IO_ROWS_H
#define NPR_IO_ROWS_H

#include "io/h5.h"
#include "npr/set.h"

enum {
    NPR_DIM_MAX = 1 << 16,
    /* The datasets of a part are numbered: 2c is column c, or the bytes of text column c; 2c + 1 the offsets
     * of text column c. The names of containers come last, as one more text column. */
    NPR_CONTAINER = NPR_COLUMNS,
    NPR_DATASETS = 2 * (NPR_COLUMNS + 1),
    NPR_TEXT_CHUNK = 1 << 20
};

int npr_column_is_text(int c);                  /* also for NPR_CONTAINER */
int npr_column_width(npr_column c, int dim);    /* values in a row of a column that is not text */
size_t npr_column_bytes(npr_column c, int dim); /* bytes in a row of it */
void *npr_column_data(const npr_rows *r, npr_column c);
npr_text *npr_column_text(const npr_rows *r, npr_column c); /* as writable as the batch */

/* The shape of dataset d of a part with these columns; 0 if such a part has no dataset d. */
int npr_dataset_shape(int d, uint32_t columns, int dim, npr_h5_shape *shape);

/* Columns as "emb id label" (in *text, big enough: NPR_COLUMNS_TEXT), and back; unknown names are NPR_EDATA.
 */
enum { NPR_COLUMNS_TEXT = 160 };
const char *npr_columns_print(uint32_t columns, char text[NPR_COLUMNS_TEXT]);
npr_status npr_column_find(const char *name, const char *origin, npr_column *c);

/* Forget what was put to the texts of the row being filled. */
void npr_rows_drop(npr_rows *r);

/* Put the caption just put to the row being filled as tokens, too. *scratch, of *cap bytes, is kept between calls;
 * release it with free(). (captions.c) */
npr_status npr_rows_put_tokens(npr_rows *r, char **scratch, size_t *cap);

/* Give rows [r->n, r->n + n) of column c their unknown value. */
void npr_rows_unknown(npr_rows *r, npr_column c, int64_t row0, int64_t n);

#endif
