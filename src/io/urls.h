/* urls.h - the pictures of a set as a table of URLs, for img2dataset to download: a header, then url, caption
 * (if the set has captions) and id, with tabs between. img2dataset reads it with Arrow, which takes a field in
 * double quotes for its content, and wants UTF-8. Local. */
#ifndef NPR_IO_URLS_H
#define NPR_IO_URLS_H

#include "npr/set.h"

typedef struct npr_urls_count {
    int64_t written;
    int64_t repeated; /* rows whose id stands in the table already: a picture of two classes is wanted once */
    int64_t without;  /* rows without a URL */
} npr_urls_count;

/* Write the table of a set that has a column url; it is there when it is whole and on the disk. Memory: 64
 * bytes a row at most. One id with two URLs is NPR_EDATA: what is downloaded is known by its id. */
npr_status npr_urls_write(const npr_set *set, const char *path, npr_urls_count *count);

/* A text as the table says it, but for quotes: control characters are spaces, bytes that are not UTF-8 become
 * U+FFFD. *out is grown as needed (*cap bytes; release with free()), *used bytes of it are the text. */
npr_status npr_urls_clean(const char *text, size_t n, char **out, size_t *cap, size_t *used);

#endif
