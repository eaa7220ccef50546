/* lines.h - a text file line by line, in big blocks and bounded memory. Local. */
#ifndef NPR_IO_LINES_H
#define NPR_IO_LINES_H

#include <stddef.h>
#include <stdint.h>

#include "npr/status.h"

enum { NPR_LINE_MAX = 1 << 20 }; /* bytes of the longest line */

typedef struct npr_lines npr_lines;

npr_status npr_lines_open(const char *path, npr_lines **out);
void npr_lines_close(npr_lines *l); /* NULL is fine */

/* The next line without its line break ("\n" or "\r\n"), valid until the next call; *line is NULL at the end.
 * The last line may lack its line break. */
npr_status npr_lines_next(npr_lines *l, const char **line, size_t *n);

/* Does the file begin with these bytes? Before the first line is taken; a file that cannot be read does not.
 */
int npr_lines_starts_with(npr_lines *l, const char *bytes);

int64_t npr_lines_offset(const npr_lines *l); /* where the next line begins in the file */
npr_status npr_lines_seek(npr_lines *l, int64_t offset);

#endif
