/* json.h - JSON values with checked access, over jansson (this is the only file's header that stands for it).
 * Every failure names the origin of the value (a file) and the key. Local. */
#ifndef NPR_BASE_JSON_H
#define NPR_BASE_JSON_H

#include <stddef.h>
#include <stdint.h>

#include "npr/status.h"

typedef struct json_t npr_json; /* a reference-counted value */

/* Parse a text of n bytes (no duplicate keys, nesting <= 64). `origin` names it in messages. NULL on failure:
 * NPR_EDATA, or NPR_EINTERNAL if memory is short. */
npr_json *npr_json_parse(const char *text, size_t n, const char *origin);
npr_json *npr_json_read(const char *path, size_t max_bytes); /* NULL on failure */
void npr_json_free(npr_json *v);

npr_json *npr_json_object(void); /* NULL: no memory */
npr_json *npr_json_array(void);

/* Setting takes any UTF-8; invalid bytes are replaced. add/put of a value takes ownership of it, also on
 * failure. */
npr_status npr_json_set_text(npr_json *o, const char *key, const char *text);
npr_status npr_json_set_int(npr_json *o, const char *key, int64_t v);
npr_status npr_json_set_real(npr_json *o, const char *key, double v); /* 17 significant digits */
npr_status npr_json_set_bool(npr_json *o, const char *key, int v);
npr_status npr_json_set(npr_json *o, const char *key, npr_json *v);
npr_status npr_json_append(npr_json *a, npr_json *v);
npr_status npr_json_append_text(npr_json *a, const char *text);

/* Reading: a missing key or wrong type is NPR_EDATA with `origin` and key in the text. Strings stay owned by
 * `o`. */
npr_status npr_json_get_text(const npr_json *o, const char *key, const char *origin, const char **text);
npr_status npr_json_get_int(const npr_json *o, const char *key, const char *origin, int64_t *v);
npr_status npr_json_get_real(const npr_json *o, const char *key, const char *origin, double *v);
npr_status npr_json_get_bool(const npr_json *o, const char *key, const char *origin, int *v);
npr_status npr_json_get_array(const npr_json *o, const char *key, const char *origin, npr_json **v);
npr_json *npr_json_get(const npr_json *o, const char *key); /* borrowed; NULL if absent or null */
size_t npr_json_count(const npr_json *a);
npr_json *npr_json_at(const npr_json *a, size_t i); /* borrowed */
const char *npr_json_text(const npr_json *v);       /* NULL if v is not a string; borrowed */
size_t npr_json_text_bytes(const npr_json *v);      /* length of a string, which may hold zero bytes */
int npr_json_number(const npr_json *v, double *x);  /* 1 if v is a number */
int npr_json_is_object(const npr_json *v);
int npr_json_integer(const npr_json *v, int64_t *x); /* 1 if v is an integer */
/* Iterate the keys of an object: start with NULL, ends with NULL. Order of insertion. */
const char *npr_json_next_key(npr_json *o, const char *key);

/* The text of a value, keys in order of insertion, no line breaks (pretty == 0) or indented by 1 (pretty ==
 * 1). Release with free(). NULL: no memory. */
char *npr_json_print(const npr_json *v, int pretty);

/* Library name and version, for --version. */
const char *npr_json_version(void);

#endif
