/* h5.c - files, failures and what reading and writing share. See h5.h. */
#include "io/h5_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "columns are moved as they lie in memory");

/* ---- failures ---- */

struct reason {
    int number; /* errno of a system call that failed, and the text is its message; 0 = none did */
    char text[160];
};

static herr_t take_innermost(unsigned n, const H5E_error2_t *e, void *to)
{
    struct reason *reason = to;
    const char *number = e->desc ? strstr(e->desc, "errno = ") : NULL;
    if (n > 0 || !e->desc) return 0;
    reason->number = number ? atoi(number + strlen("errno = ")) : 0;
    snprintf(reason->text, sizeof reason->text, "%s", number ? strerror(reason->number) : e->desc);
    return 0;
}

/* Why HDF5 failed, in a few words from the bottom of its error stack. */
static struct reason find_reason(void)
{
    struct reason reason = {0, "HDF5 gives no reason"};
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take_innermost, &reason);
    return reason;
}

static npr_status write_failed_by(const npr_h5 *f, const char *what, const struct reason *reason)
{
    int64_t bytes;
    char left[64] = "";
    if (!npr_folder_free_bytes(f->path, &bytes)) /* it is not there where there was no room for its name */
        snprintf(left, sizeof left, " (%lld bytes free on its file system)", (long long)bytes);
    return npr_fail(NPR_EIO, "%s: cannot write %s: %s%s", f->path, what, reason->text, left);
}

npr_status npr_h5_write_failed(const npr_h5 *f, const char *what)
{
    struct reason reason = find_reason();
    return write_failed_by(f, what, &reason);
}

npr_status npr_h5_read_failed(const npr_h5 *f, const char *what)
{
    struct reason reason = find_reason();
    return npr_fail(reason.number ? NPR_EIO : NPR_EDATA, "%s: cannot read %s: %s", f->path, what,
                    reason.text);
}

/* ---- files ---- */

/* Before anything else of HDF5; calling it again does no harm. */
static void prepare_library(void)
{
    (void)H5dont_atexit();                       /* its clean-up at exit crashes after a failed write */
    (void)H5Eset_auto2(H5E_DEFAULT, NULL, NULL); /* failures are ours to print */
    (void)H5PLset_loading_state(0);
}

/* Only the newest format checks its metadata. Files are renamed into place when they are complete, never
 * changed after, so HDF5's locks guard nothing here, and on network file systems without locks they would
 * make every open fail. */
static hid_t make_access(void)
{
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    herr_t bad = access < 0 || H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110) < 0 ||
                 H5Pset_fclose_degree(access, H5F_CLOSE_STRONG) < 0;
#if H5_VERSION_GE(1, 10, 7)
    bad = bad || H5Pset_file_locking(access, 0, 1) < 0;
#endif
    if (!bad) return access;
    if (access >= 0) H5Pclose(access);
    return H5I_INVALID_HID;
}

static npr_status new_file(const char *path, npr_h5 **out)
{
    prepare_library();
    *out = npr_alloc(1, sizeof **out, "an HDF5 file");
    if (!*out) return npr_last();
    (*out)->id = H5I_INVALID_HID;
    (*out)->path = npr_strdup(path);
    if ((*out)->path) return NPR_OK;
    free(*out);
    *out = NULL;
    return npr_last();
}

static void free_file(npr_h5 *f)
{
    free(f->path);
    free(f);
}

/* A disk that is full already refuses the first bytes: that is no wrong name or right. */
static npr_status create_failed(const npr_h5 *f)
{
    struct reason reason = find_reason();
    if (reason.number == ENOSPC || reason.number == EDQUOT || reason.number == EIO)
        return write_failed_by(f, "its first bytes", &reason);
    return npr_fail(NPR_ECREATE, "%s: cannot create: %s", f->path, reason.text);
}

npr_status npr_h5_create(const char *path, npr_h5 **out)
{
    npr_h5 *f;
    NPR_TRY(new_file(path, &f));
    f->writing = 1;
    hid_t access = make_access(), create = H5Pcreate(H5P_FILE_CREATE);
    /* no times in the file: the same rows give the same bytes */
    if (!npr_fault("part.create") && access >= 0 && create >= 0 && H5Pset_obj_track_times(create, 0) >= 0)
        f->id = H5Fcreate(path, H5F_ACC_TRUNC, create, access);
    npr_status st = NPR_OK;
    if (f->id < 0) st = create_failed(f);
    if (access >= 0) H5Pclose(access);
    if (create >= 0) H5Pclose(create);
    if (st)
        free_file(f);
    else
        *out = f;
    return st;
}

/* The first bytes of a file with superblock version 3, which checks itself and all metadata below it. */
static npr_status check_signature(npr_h5 *f)
{
    static const unsigned char want[] = {0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n', 3, 8, 8};
    unsigned char head[sizeof want];
    int fd;
    NPR_TRY(npr_file_open(f->path, &fd, &f->bytes));
    ssize_t n = read(fd, head, sizeof head);
    close(fd);
    if (n != (ssize_t)sizeof head || memcmp(head, want, 8) != 0)
        return npr_fail(NPR_EDATA, "%s: not an HDF5 file", f->path);
    if (memcmp(head, want, sizeof want) != 0)
        return npr_fail(NPR_EDATA, "%s: HDF5 superblock version %d, a part of a set has version 3", f->path,
                        head[8]);
    return NPR_OK;
}

npr_status npr_h5_open(const char *path, npr_h5 **out)
{
    npr_h5 *f;
    NPR_TRY(new_file(path, &f));
    npr_status st = check_signature(f);
    hid_t access = st ? H5I_INVALID_HID : make_access();
    if (!st && (access < 0 || (f->id = H5Fopen(path, H5F_ACC_RDONLY, access)) < 0))
        st = npr_h5_read_failed(f, "it as HDF5");
    if (access >= 0) H5Pclose(access);
    if (st)
        free_file(f);
    else
        *out = f;
    return st;
}

npr_status npr_h5_close(npr_h5 *f)
{
    npr_status st = NPR_OK;
    if (f->writing && (npr_fault("part.close") || H5Fflush(f->id, H5F_SCOPE_GLOBAL) < 0)) {
        st = npr_h5_write_failed(f, "its metadata");
        npr_h5_discard(f);
        return st;
    }
    if (H5Fclose(f->id) < 0)
        st = f->writing ? npr_h5_write_failed(f, "its end") : npr_h5_read_failed(f, "its end");
    free_file(f);
    return st;
}

void npr_h5_discard(npr_h5 *f)
{
    if (!f) return;
    int rc = f->writing ? truncate(f->path, 0) : 0;
    (void)rc; /* if this fails, closing may fail too: the file is lost either way */
    (void)H5Fclose(f->id);
    free_file(f);
}

const char *npr_h5_path(const npr_h5 *f)
{
    return f->path;
}

/* ---- columns ---- */

size_t npr_value_bytes(npr_value v)
{
    static const size_t bytes[] = {
        [NPR_HALF] = 2, [NPR_FLOAT] = 4, [NPR_INT64] = 8, [NPR_INT32] = 4, [NPR_BYTE] = 1};
    return bytes[v];
}

hid_t npr_h5_type(npr_value v)
{
    hid_t type;
    switch (v) {
    case NPR_HALF: /* IEEE binary16, which h5py calls <f2; HDF5 1.10 has no name for it */
        type = H5Tcopy(H5T_IEEE_F32LE);
        if (type >= 0 && (H5Tset_fields(type, 15, 10, 5, 0, 10) < 0 || H5Tset_size(type, 2) < 0 ||
                          H5Tset_ebias(type, 15) < 0)) {
            H5Tclose(type);
            return H5I_INVALID_HID;
        }
        return type;
    case NPR_FLOAT:
        return H5Tcopy(H5T_IEEE_F32LE);
    case NPR_INT64:
        return H5Tcopy(H5T_STD_I64LE);
    case NPR_INT32:
        return H5Tcopy(H5T_STD_I32LE);
    default:
        return H5Tcopy(H5T_STD_U8LE);
    }
}

npr_status npr_h5_column_make(const npr_h5 *f, const npr_h5_shape *shape, npr_h5_column **out)
{
    npr_h5_column *c = npr_alloc(1, sizeof *c, "an HDF5 column");
    if (!c) return npr_last();
    c->file = f;
    c->id = H5I_INVALID_HID;
    c->shape = *shape;
    c->chunk = -1;
    c->row_bytes = npr_value_bytes(shape->value) * (size_t)shape->width;
    c->chunk_bytes = c->row_bytes * (size_t)shape->chunk;
    c->buf = npr_alloc_aligned(c->chunk_bytes + NPR_H5_CHECKSUM, 1, "a chunk");
    if (!c->buf) {
        npr_h5_column_free(c);
        return npr_last();
    }
    *out = c;
    return NPR_OK;
}

void npr_h5_column_free(npr_h5_column *c)
{
    if (!c) return;
    if (c->id >= 0) (void)H5Dclose(c->id); /* nothing of ours is in HDF5's cache: the file's close decides */
    npr_digest_free(c->digest);
    free(c->buf);
    free(c);
}

int64_t npr_h5_column_rows(const npr_h5_column *c)
{
    return c->rows;
}

const char *npr_h5_version(void)
{
    static char text[48];
    unsigned major = 0, minor = 0, release = 0;
    (void)H5get_libversion(&major, &minor, &release); /* cannot fail on pointers */
    snprintf(text, sizeof text, "HDF5 %u.%u.%u", major, minor, release);
    return text;
}
