/* samples.h - the samples of a webdataset tar, as img2dataset writes them: members KEY.jpg, KEY.txt,
 * KEY.json, KEY.cls one after another, KEY being the path up to the first dot of the base name. Local. */
#ifndef NPR_IO_SAMPLES_H
#define NPR_IO_SAMPLES_H

#include "io/tar.h"

/* Where a member's bytes lie; bytes < 0: the sample has no such member. */
typedef struct npr_span {
    int64_t offset, bytes;
} npr_span;

typedef struct npr_sample {
    int64_t header;   /* of its first member: a place for npr_samples_seek() */
    const char *name; /* of the image member */
    npr_span image, text, json, class;
} npr_sample;

typedef struct npr_samples npr_samples;

npr_status npr_samples_open(const char *path, npr_samples **out);
void npr_samples_close(npr_samples *s); /* NULL is fine */
npr_status npr_samples_seek(npr_samples *s, int64_t header);

/* The next sample that has an image, valid until the next call; NULL behind the last one. Two members of a
 * sample for the same thing are NPR_EDATA. */
npr_status npr_samples_next(npr_samples *s, const npr_sample **sample);

/* The same, but with samples that have no image: theirs is of -1 bytes, without a name. */
npr_status npr_samples_next_any(npr_samples *s, const npr_sample **sample);

/* A member's bytes (a zero byte is put behind them), valid until the next call. */
npr_status npr_samples_read(npr_samples *s, npr_span at, const char **bytes);

/* Members passed over that belong to no image. */
int64_t npr_samples_unused(const npr_samples *s);

/* Is this the end of an image file's name: "jpg", "PNG"? Not all of them are JPEGs; those are told apart by
 * their bytes. */
int npr_is_image_suffix(const char *suffix);

#endif
