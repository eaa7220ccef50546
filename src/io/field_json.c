/* field_json.c - the fields of a JSON object. See field.h. */
#include <string.h>

#include "base/json.h"
#include "io/field.h"

/* The values of an object, by the columns they fill: *map tells which; NULL is null. */
static npr_status map_object(npr_json *object, const char *origin, npr_field_map *map,
                             npr_json *value[NPR_COLUMNS])
{
    const char *key = npr_json_next_key(object, NULL);
    *map = (npr_field_map){0};
    if (!key) return npr_fail(NPR_EDATA, "%s: wanted a JSON object with fields, one on each line", origin);
    for (int i = 0; key; key = npr_json_next_key(object, key), i++) {
        npr_column c;
        if (!npr_field_find(key, strlen(key), &c)) continue;
        NPR_TRY(npr_field_map_add(map, i, key, strlen(key), origin));
        if (map->field[c] == i) value[c] = npr_json_get(object, key);
    }
    return NPR_OK;
}

static npr_field_value json_value(const npr_json *v)
{
    npr_field_value out = {.kind = NPR_FIELD_OTHER};
    if (!v) {
        out.kind = NPR_FIELD_UNKNOWN;
    } else if (npr_json_text(v)) {
        out.kind = NPR_FIELD_TEXT;
        out.text = npr_json_text(v);
        out.n = npr_json_text_bytes(v);
    } else if (npr_json_number(v, &out.number)) {
        out.kind = NPR_FIELD_NUMBER;
    }
    return out;
}

npr_status npr_field_put_object(npr_json *object, uint32_t columns, const char *origin, npr_field_map *map,
                                npr_rows *r)
{
    npr_json *value[NPR_COLUMNS] = {0};
    NPR_TRY(map_object(object, origin, map, value));
    for (int c = 0; c < NPR_COLUMNS && r; c++) {
        if (!(columns & r->columns & NPR_COL(c))) continue;
        npr_field_value v = json_value(value[c]);
        NPR_TRY(npr_field_put(r, (npr_column)c, &v, origin, 0));
    }
    return NPR_OK;
}
