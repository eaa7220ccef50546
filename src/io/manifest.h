/* manifest.h - the text of manifest.json, and of a part's entry in it. Local.
 *
 * The last key, "manifest_digest", is the digest of all bytes before it (`head -c -59 manifest.json |
 * xxh128sum`), so any flipped byte of the file is found. */
#ifndef NPR_IO_MANIFEST_H
#define NPR_IO_MANIFEST_H

#include <stddef.h>

#include "base/json.h"
#include "npr/set.h"

enum { NPR_MANIFEST_MAX = 1 << 30 };

/* A text as it will be read back from JSON: what is not UTF-8 is escaped. NULL: no memory. Release with
 * free(). */
char *npr_manifest_text(const char *text);

/* An empty set with such copies of these texts. NULL: no memory. */
npr_set *npr_set_new(const char *path, const char *kind, const char *model, const char *job);

/* Make `parts` the parts of the set, and sum them up in rows and residual. */
npr_status npr_set_put_parts(npr_set *set, const npr_part_entry *part, int parts);

npr_status npr_set_put_index_texts(npr_set *set, const char *index, const char *index_job);

/* The manifest of a set; set->digest becomes its digest. Release the text with free(). */
npr_status npr_manifest_print(npr_set *set, char **text, size_t *n);

/* Read and check a manifest of n bytes; a zero byte stands behind them. */
npr_status npr_manifest_parse(const char *path, const char *text, size_t n, npr_set **set);

/* The file of a set's manifest: whether there is one (1 or 0), its bytes, and writing it for all to see. */
int npr_manifest_exists(const char *path);

/* Is this the name of a file that sets hold: the manifest, a part, or a table beside them? */
int npr_manifest_owns(const char *name);
npr_status npr_manifest_read(const char *path, char **text, size_t *n);
npr_status npr_manifest_write(npr_set *set);

/* One part's entry as JSON, and back: it must be part number `part`, of at most part_rows rows. */
npr_json *npr_entry_to_json(const npr_part_entry *e);
npr_status npr_entry_from_json(const npr_json *v, const char *origin, int part, int64_t part_rows,
                               npr_part_entry *e);

#endif
