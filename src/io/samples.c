/* samples.c - see samples.h. */
#include "io/samples.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"

enum { IMAGE, TEXT, JSON, CLASS, PARTS };

struct npr_samples {
    char *path;
    npr_tar *tar;
    int ended;
    int pending;           /* the next sample's first member is known: */
    npr_tar_member member; /* its name is name[0] */
    char *name[2];         /* of that member, and of the sample's image */
    size_t name_cap[2];
    char *key;
    size_t key_cap, key_bytes;
    npr_sample sample;
    int64_t unused;
    char *bytes;
    size_t bytes_cap;
};

int npr_is_image_suffix(const char *suffix)
{
    static const char *const known[] = {"jpg", "jpeg", "jpe", "png",  "webp",
                                        "gif", "bmp",  "tif", "tiff", "ppm"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcasecmp(suffix, known[i])) return 1;
    return 0;
}

npr_status npr_samples_open(const char *path, npr_samples **out)
{
    npr_samples *s = npr_alloc(1, sizeof *s, "an open archive");
    if (!s) return npr_last();
    npr_status st = (s->path = npr_strdup(path)) ? npr_tar_open(path, &s->tar) : npr_last();
    if (st)
        npr_samples_close(s);
    else
        *out = s;
    return st;
}

void npr_samples_close(npr_samples *s)
{
    if (!s) return;
    npr_tar_close(s->tar);
    free(s->name[0]);
    free(s->name[1]);
    free(s->key);
    free(s->bytes);
    free(s->path);
    free(s);
}

npr_status npr_samples_seek(npr_samples *s, int64_t header)
{
    s->ended = s->pending = 0;
    return npr_tar_seek(s->tar, header);
}

int64_t npr_samples_unused(const npr_samples *s)
{
    return s->unused;
}

static npr_status keep_name(npr_samples *s, int which, const char *name)
{
    size_t n = strlen(name) + 1;
    NPR_TRY(npr_grow(&s->name[which], &s->name_cap[which], n, 1, "a member's name"));
    memmove(s->name[which], name, n);
    return NPR_OK;
}

/* Bytes of the key in a member's name; *suffix: what stands behind the dot, "" if there is none. */
static size_t split(const char *name, const char **suffix)
{
    const char *slash = strrchr(name, '/'), *dot = strchr(slash ? slash + 1 : name, '.');
    *suffix = dot ? dot + 1 : name + strlen(name);
    return dot ? (size_t)(dot - name) : strlen(name);
}

/* What a member of this suffix is to its sample, or PARTS: nothing. */
static int part_of(const char *suffix)
{
    static const char *const names[PARTS] = {[TEXT] = "txt", [JSON] = "json", [CLASS] = "cls"};
    if (npr_is_image_suffix(suffix)) return IMAGE;
    for (int i = TEXT; i < PARTS; i++)
        if (!strcasecmp(suffix, names[i])) return i;
    return PARTS;
}

/* Make the pending member part of the sample being put together. */
static npr_status add_pending(npr_samples *s)
{
    const char *suffix;
    s->pending = 0;
    split(s->name[0], &suffix);
    npr_span *part[PARTS] = {&s->sample.image, &s->sample.text, &s->sample.json, &s->sample.class};
    int i = part_of(suffix);
    if (i == PARTS) return NPR_OK;
    if (part[i]->bytes >= 0)
        return npr_fail(NPR_EDATA, "%s: \"%.200s\" at byte %lld is the second of its kind in one sample",
                        s->path, s->name[0], (long long)s->member.offset);
    *part[i] = (npr_span){s->member.offset, s->member.bytes};
    return i == IMAGE ? keep_name(s, 1, s->name[0]) : NPR_OK;
}

static npr_status begin_sample(npr_samples *s)
{
    const char *suffix;
    npr_span none = {0, -1};
    s->sample = (npr_sample){s->member.header, NULL, none, none, none, none};
    s->key_bytes = split(s->name[0], &suffix);
    NPR_TRY(npr_grow(&s->key, &s->key_cap, s->key_bytes + 1, 1, "a sample's key"));
    memcpy(s->key, s->name[0], s->key_bytes);
    return add_pending(s);
}

/* The next plain member becomes the pending one. */
static npr_status read_member(npr_samples *s)
{
    int there;
    for (;;) {
        NPR_TRY(npr_tar_next(s->tar, &s->member, &there));
        s->ended = !there;
        if (!there) return NPR_OK;
        if (s->member.plain) break;
        s->unused++;
    }
    s->pending = 1;
    return keep_name(s, 0, s->member.name);
}

/* The next sample, whatever it has; *members: how many, 0 at the end. */
static npr_status gather(npr_samples *s, int64_t *members)
{
    const char *suffix;
    *members = 0;
    if (!s->pending && !s->ended) NPR_TRY(read_member(s));
    if (!s->pending) return NPR_OK;
    NPR_TRY(begin_sample(s));
    for (*members = 1;; ++*members) {
        NPR_TRY(read_member(s));
        if (s->ended) return NPR_OK;
        if (split(s->name[0], &suffix) != s->key_bytes || memcmp(s->name[0], s->key, s->key_bytes) != 0)
            return NPR_OK;
        NPR_TRY(add_pending(s));
    }
}

npr_status npr_samples_next_any(npr_samples *s, const npr_sample **sample)
{
    int64_t members;
    NPR_TRY(gather(s, &members));
    if (members && s->sample.image.bytes < 0) s->unused += members;
    s->sample.name = s->sample.image.bytes < 0 ? NULL : s->name[1];
    *sample = members ? &s->sample : NULL;
    return NPR_OK;
}

npr_status npr_samples_next(npr_samples *s, const npr_sample **sample)
{
    do NPR_TRY(npr_samples_next_any(s, sample));
    while (*sample && (*sample)->image.bytes < 0);
    return NPR_OK;
}

npr_status npr_samples_read(npr_samples *s, npr_span at, const char **bytes)
{
    size_t n = (size_t)at.bytes;
    NPR_TRY(npr_grow(&s->bytes, &s->bytes_cap, n + 1, 1, "a member of an archive"));
    NPR_TRY(npr_tar_read(s->tar, at.offset, s->bytes, n));
    s->bytes[n] = 0;
    *bytes = s->bytes;
    return NPR_OK;
}
