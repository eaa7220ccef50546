/* json.c - see json.h. The only user of jansson.h. */
#include "base/json.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

enum { DEPTH_MAX = 64 };

/* jansson tells a text that is wrong from memory that is short neither by its error code nor, since it passes
 * over some failures, by failing: "invalid token", or a string without its end. So its memory comes through
 * here. */
static _Thread_local int starved; /* an allocation failed since it was set to 0 */

static void *take(size_t n)
{
    void *p = malloc(n);
    if (!p) starved = 1;
    return p;
}

/* Before main(): other threads may be at work later. */
__attribute__((constructor)) static void give_memory(void)
{
    json_set_alloc_funcs(take, free);
}

/* Depth of brackets outside of strings; jansson's own limit (2048) is deeper than any file of ours needs. */
static int too_deep(const char *text, size_t n)
{
    int depth = 0, in_string = 0;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = 0;
        } else if (c == '"') {
            in_string = 1;
        } else if (c == '{' || c == '[') {
            if (++depth > DEPTH_MAX) return 1;
        } else if (c == '}' || c == ']') {
            depth--;
        }
    }
    return 0;
}

npr_json *npr_json_parse(const char *text, size_t n, const char *origin)
{
    if (too_deep(text, n)) {
        npr_fail(NPR_EDATA, "%s: JSON nested deeper than %d levels", origin, DEPTH_MAX);
        return NULL;
    }
    json_error_t error;
    starved = 0;
    json_t *v = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    if (starved) {
        json_decref(v);
        npr_fail(NPR_EINTERNAL, "%s: out of memory: its JSON, %zu bytes", origin, n);
        return NULL;
    }
    if (!v)
        npr_fail(NPR_EDATA, "%s: not valid JSON: line %d, column %d: %s", origin, error.line, error.column,
                 error.text);
    return v;
}

npr_json *npr_json_read(const char *path, size_t max_bytes)
{
    char *text = NULL;
    size_t n = 0;
    if (npr_file_read(path, max_bytes, &text, &n)) return NULL;
    npr_json *v = npr_json_parse(text, n, path);
    free(text);
    return v;
}

void npr_json_free(npr_json *v)
{
    json_decref(v);
}

static npr_json *checked(json_t *v)
{
    if (!v) npr_fail(NPR_EINTERNAL, "out of memory: a JSON value");
    return v;
}

npr_json *npr_json_object(void)
{
    return checked(json_object());
}

npr_json *npr_json_array(void)
{
    return checked(json_array());
}

/* A JSON string of any bytes: of what is not UTF-8 all that is not printable ASCII becomes \xNN. */
static json_t *make_string(const char *text)
{
    starved = 0;
    json_t *v = json_string(text);
    if (v || starved) return v;
    char *clean = npr_file_escape(text);
    v = clean ? json_string(clean) : NULL;
    free(clean);
    return v;
}

npr_status npr_json_set(npr_json *o, const char *key, npr_json *v)
{
    if (!v || json_object_set_new(o, key, v))
        return npr_fail(NPR_EINTERNAL, "out of memory: JSON key \"%s\"", key);
    return NPR_OK;
}

npr_status npr_json_set_text(npr_json *o, const char *key, const char *text)
{
    return npr_json_set(o, key, make_string(text));
}

npr_status npr_json_set_int(npr_json *o, const char *key, int64_t v)
{
    return npr_json_set(o, key, json_integer(v));
}

npr_status npr_json_set_real(npr_json *o, const char *key, double v)
{
    return npr_json_set(o, key, json_real(v));
}

npr_status npr_json_set_bool(npr_json *o, const char *key, int v)
{
    return npr_json_set(o, key, json_boolean(v));
}

npr_status npr_json_append(npr_json *a, npr_json *v)
{
    if (!v || json_array_append_new(a, v)) return npr_fail(NPR_EINTERNAL, "out of memory: a JSON array");
    return NPR_OK;
}

npr_status npr_json_append_text(npr_json *a, const char *text)
{
    return npr_json_append(a, make_string(text));
}

static npr_status want(const npr_json *o, const char *key, const char *origin, const char *type, int ok)
{
    if (ok) return NPR_OK;
    const json_t *v = json_object_get(o, key);
    return npr_fail(NPR_EDATA, "%s: \"%s\" should be %s, it is %s", origin, key, type,
                    v ? "something else" : "missing");
}

npr_status npr_json_get_text(const npr_json *o, const char *key, const char *origin, const char **text)
{
    *text = json_string_value(json_object_get(o, key));
    return want(o, key, origin, "a string", *text != NULL);
}

npr_status npr_json_get_int(const npr_json *o, const char *key, const char *origin, int64_t *v)
{
    const json_t *x = json_object_get(o, key);
    *v = json_integer_value(x);
    return want(o, key, origin, "an integer", json_is_integer(x));
}

npr_status npr_json_get_real(const npr_json *o, const char *key, const char *origin, double *v)
{
    const json_t *x = json_object_get(o, key);
    *v = json_number_value(x);
    return want(o, key, origin, "a number", json_is_number(x));
}

npr_status npr_json_get_bool(const npr_json *o, const char *key, const char *origin, int *v)
{
    const json_t *x = json_object_get(o, key);
    *v = json_is_true(x);
    return want(o, key, origin, "true or false", json_is_boolean(x));
}

npr_status npr_json_get_array(const npr_json *o, const char *key, const char *origin, npr_json **v)
{
    *v = json_object_get(o, key);
    return want(o, key, origin, "an array", json_is_array(*v));
}

npr_json *npr_json_get(const npr_json *o, const char *key)
{
    json_t *v = json_object_get(o, key);
    return json_is_null(v) ? NULL : v;
}

size_t npr_json_count(const npr_json *a)
{
    return json_is_object(a) ? json_object_size(a) : json_array_size(a);
}

npr_json *npr_json_at(const npr_json *a, size_t i)
{
    return json_array_get(a, i);
}

const char *npr_json_text(const npr_json *v)
{
    return json_string_value(v);
}

size_t npr_json_text_bytes(const npr_json *v)
{
    return json_string_length(v);
}

int npr_json_number(const npr_json *v, double *x)
{
    *x = json_number_value(v);
    return json_is_number(v);
}

int npr_json_is_object(const npr_json *v)
{
    return json_is_object(v);
}

int npr_json_integer(const npr_json *v, int64_t *x)
{
    *x = json_integer_value(v);
    return json_is_integer(v);
}

const char *npr_json_next_key(npr_json *o, const char *key)
{
    void *at = key ? json_object_iter_next(o, json_object_iter_at(o, key)) : json_object_iter(o);
    return at ? json_object_iter_key(at) : NULL;
}

char *npr_json_print(const npr_json *v, int pretty)
{
    char *text =
        json_dumps(v, JSON_ENCODE_ANY | JSON_REAL_PRECISION(17) | (pretty ? JSON_INDENT(1) : JSON_COMPACT));
    if (!text) npr_fail(NPR_EINTERNAL, "out of memory: printing JSON");
    return text;
}

const char *npr_json_version(void)
{
    return "jansson " JANSSON_VERSION;
}
