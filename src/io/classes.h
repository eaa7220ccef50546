/* classes.h - a class file: one class a line, its name, then synonyms after tabs. Lines may end in "\r\n",
 * the file may begin with a byte order mark. What a name may hold is for the reader to say: search wants
 * letters, prompts want texts. Local. */
#ifndef NPR_IO_CLASSES_H
#define NPR_IO_CLASSES_H

#include <stddef.h>

/* A line: n bytes without line break, its number from 1. All zeros before the first one. */
typedef struct npr_class_line {
    const char *text;
    size_t n;
    long number;
    const char *next; /* the next line */
} npr_class_line;

/* The first, or the next line of a text that ends with a zero byte; 0 at its end. */
int npr_class_line_next(const char *text, npr_class_line *line);

/* The first field of a line (after == NULL), or the one after a field; NULL behind the last. Fields may be
 * empty. */
const char *npr_class_field(const npr_class_line *line, const char *after, size_t *n);

#endif
