/* skipped.h - rows of the input that a stage leaves out: counted by reason, and listed in a file beside the
 * set, SET/NAME.tsv: a line per row, its reason last. Until the set is finished a part's lines lie in the
 * scratch folder, durable before the part is committed. Local. */
#ifndef NPR_IO_SKIPPED_H
#define NPR_IO_SKIPPED_H

#include <stddef.h>
#include <stdint.h>

#include "npr/status.h"

enum { NPR_SKIP_REASONS = 16 };

typedef struct npr_skipped {
    const char *name;           /* of the list: "rejected" */
    const char *(*reason)(int); /* names of the reasons 0 .. reasons - 1 */
    int reasons;                /* at most NPR_SKIP_REASONS */
    char *text;                 /* lines of the part in hand; released with free() */
    size_t used, cap;
    int64_t count[NPR_SKIP_REASONS]; /* by reason, of all parts so far */
} npr_skipped;

/* Add a line: the text, a tab and the reason. */
npr_status npr_skipped_add(npr_skipped *s, int reason, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Put the lines aside as those of this part, and forget them. */
npr_status npr_skipped_keep(npr_skipped *s, const char *scratch, int part);

/* Put the lists of all parts together in the scratch folder, counted by reason (whoever wrote them); then
 * move it to the set, if there is any line. */
npr_status npr_skipped_merge(const npr_skipped *s, const char *scratch, int64_t parts, int64_t *count);
npr_status npr_skipped_publish(const npr_skipped *s, const char *scratch, const char *set);

/* Count a finished set's list; the first columns of its first lines as text. */
npr_status npr_skipped_read(const npr_skipped *s, const char *set, int64_t *count, char *first, size_t size);

/* "3 not_jpeg, 1 truncated": in buf. */
const char *npr_skipped_print(const npr_skipped *s, const int64_t *count, char *buf, size_t size);

#endif
