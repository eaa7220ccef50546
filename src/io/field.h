/* field.h - the fields of a metadata row: what their names mean, and how their values become columns. Shared
 * by TSV, JSON lines and SQLite, so that the same value means the same wherever it comes from. Local. */
#ifndef NPR_IO_FIELD_H
#define NPR_IO_FIELD_H

#include "base/json.h"
#include "npr/set.h"

/* The column a field of this name fills, upper or lower case. Returns 0 for names without a meaning, else how
 * well the name fits: of two fields for one column (width, original_width) the higher one counts. */
int npr_field_find(const char *name, size_t n, npr_column *c);

/* Names of fields mapped to columns, one by one: the best for each column. */
typedef struct npr_field_map {
    int field[NPR_COLUMNS]; /* the field that fills a column */
    int fit[NPR_COLUMNS];   /* 0: none does */
    uint32_t columns;
} npr_field_map;

/* Take field number i into account; two that fit equally well are refused. */
npr_status npr_field_map_add(npr_field_map *map, int i, const char *name, size_t n, const char *origin);

typedef struct npr_field_value {
    enum { NPR_FIELD_UNKNOWN, NPR_FIELD_TEXT, NPR_FIELD_NUMBER, NPR_FIELD_OTHER } kind;
    const char *text; /* [n] */
    size_t n;
    double number;
} npr_field_value;

/* Put a value into column c of the row of r that is being filled. Empty texts and NaN are unknown; what is no
 * such value is refused with its place: origin and line (0: no line). */
npr_status npr_field_put(npr_rows *r, npr_column c, const npr_field_value *v, const char *origin,
                         int64_t line);

/* The fields of a JSON object: *map tells which columns they could fill; those among `columns` are put into
 * the row of r that is being filled, unless r is NULL. (field_json.c) */
npr_status npr_field_put_object(npr_json *object, uint32_t columns, const char *origin, npr_field_map *map,
                                npr_rows *r);

/* A whole text as a number, as JSON or Python write it, whatever the locale; 1 on success. */
int npr_field_number(const char *text, size_t n, double *x);

#endif
