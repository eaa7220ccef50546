/* jpeg.c - JPEG by libjpeg-turbo, set up as Pillow does it (integer DCT, smooth upsampling, CMYK inverted as
 * Adobe writes it), so that the pixels are the same; the only user of jpeglib.h. Input is trusted in nothing:
 * a file is refused by its header before memory is taken, errors of the library come back here by longjmp,
 * warnings and scans are counted. See npr/image.h. */
#include <limits.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>
#include <jerror.h>

#include "base/mem.h"
#include "npr/image.h"

const char *npr_image_fault_name(npr_image_fault fault)
{
    static const char *const names[NPR_IMAGE_FAULTS] = {"ok",        "unreadable", "not_jpeg",
                                                        "truncated", "too_large",  "damaged"};
    return names[fault];
}

void npr_pixels_free(npr_pixels *p)
{
    free(p->data);
    *p = (npr_pixels){0};
}

/* ---- decoding: what the library calls ---- */

struct npr_jpeg {
    npr_jpeg_limits limits;
    struct jpeg_decompress_struct
        d; /* first made, last destroyed with every image: tables must not outlive it */
    struct jpeg_error_mgr err;
    struct jpeg_progress_mgr progress;
    struct jpeg_source_mgr src;
    jmp_buf out; /* to where an image is given up */
    int whole;   /* all rows are read: an end marker may be missing */
    npr_image_fault fault;
    npr_status status;
};

static void give_up(npr_jpeg *j, npr_image_fault fault)
{
    j->fault = fault;
    longjmp(j->out, 1);
}

/* The fault that an error of the library means. */
static npr_image_fault fault_of(int code)
{
    switch (code) {
    case JERR_NO_SOI:
    case JERR_BAD_PRECISION:
    case JERR_COMPONENT_COUNT:
    case JERR_SOF_UNSUPPORTED:
    case JERR_ARITH_NOTIMPL:
    case JERR_CONVERSION_NOTIMPL:
    case JERR_FRACT_SAMPLE_NOTIMPL:
        return NPR_IMAGE_NOT_JPEG;
    case JERR_IMAGE_TOO_BIG:
    case JERR_WIDTH_OVERFLOW:
    case JERR_NO_BACKING_STORE: /* beyond max_memory_to_use */
        return NPR_IMAGE_TOO_LARGE;
    default:
        return NPR_IMAGE_DAMAGED;
    }
}

static void on_error(j_common_ptr c)
{
    npr_jpeg *j = c->client_data;
    if (c->err->msg_code == JERR_OUT_OF_MEMORY)
        j->status = npr_fail(NPR_EINTERNAL, "out of memory: a JPEG of %u x %u pixels", j->d.image_width,
                             j->d.image_height);
    give_up(j, fault_of(c->err->msg_code));
}

static void on_message(j_common_ptr c, int level)
{
    npr_jpeg *j = c->client_data;
    if (level >= 0) return; /* traces */
    if (++c->err->num_warnings > j->limits.max_warnings) give_up(j, NPR_IMAGE_DAMAGED);
}

static void on_output(j_common_ptr c)
{
    (void)c; /* nothing is printed */
}

/* Called for every row of blocks of a file with several scans. */
static void on_progress(j_common_ptr c)
{
    npr_jpeg *j = c->client_data;
    int64_t scans = j->d.input_scan_number, pixels = (int64_t)j->d.image_width * j->d.image_height;
    if (scans > j->limits.max_scans || scans * pixels > (int64_t)NPR_JPEG_WORK << 20)
        give_up(j, NPR_IMAGE_TOO_LARGE);
}

static void src_nothing(j_decompress_ptr d)
{
    (void)d;
}

/* All bytes are there from the beginning, so none are left. Pillow's decoder is suspended here, and it calls
 * truncated what is suspended at the end of the file. */
static boolean src_fill(j_decompress_ptr d)
{
    npr_jpeg *j = d->client_data;
    give_up(j, j->whole ? NPR_IMAGE_OK : NPR_IMAGE_TRUNCATED);
    return FALSE;
}

static void src_skip(j_decompress_ptr d, long n)
{
    if (n <= 0) return;
    size_t step = (size_t)n < d->src->bytes_in_buffer ? (size_t)n : d->src->bytes_in_buffer;
    d->src->next_input_byte += step;
    d->src->bytes_in_buffer -= step;
}

/* ---- decoding ---- */

npr_status npr_jpeg_make(const npr_jpeg_limits *limits, npr_jpeg **out)
{
    npr_jpeg *j = npr_alloc(1, sizeof *j, "a JPEG decoder");
    if (!j) return npr_last();
    if (limits) j->limits = *limits;
    npr_jpeg_limits *l = &j->limits;
    if (l->max_pixels <= 0) l->max_pixels = NPR_JPEG_PIXELS;
    if (l->max_scans <= 0) l->max_scans = NPR_JPEG_SCANS;
    l->max_warnings = l->max_warnings < 0 ? 0 : l->max_warnings ? l->max_warnings : NPR_JPEG_WARNINGS;
    *out = j;
    return NPR_OK;
}

void npr_jpeg_free(npr_jpeg *j)
{
    free(j);
}

static void begin(npr_jpeg *j, const void *bytes, size_t n)
{
    jpeg_std_error(&j->err);
    j->err.error_exit = on_error;
    j->err.emit_message = on_message;
    j->err.output_message = on_output;
    j->progress.progress_monitor = on_progress;
    j->src = (struct jpeg_source_mgr){bytes,      n, src_nothing, src_fill, src_skip, jpeg_resync_to_restart,
                                      src_nothing};
    j->d.err = &j->err;
    j->d.client_data = j;
    j->whole = 0;
    j->fault = NPR_IMAGE_OK;
    j->status = NPR_OK;
}

/* Pillow's modes by number of components; the size is refused here, before memory is taken. */
static void judge_header(npr_jpeg *j)
{
    struct jpeg_decompress_struct *d = &j->d;
    int64_t pixels = (int64_t)d->image_width * d->image_height;
    if (pixels > j->limits.max_pixels) give_up(j, NPR_IMAGE_TOO_LARGE);
    switch (d->num_components) {
    case 1:
        d->out_color_space = JCS_GRAYSCALE;
        break;
    case 3:
        d->out_color_space = JCS_RGB;
        break;
    case 4:
        d->out_color_space = JCS_CMYK;
        break;
    default:
        give_up(j, NPR_IMAGE_NOT_JPEG);
    }
    int64_t memory = 8 * pixels + (16 << 20); /* 4 components of 2 bytes, and small things */
    d->mem->max_memory_to_use = memory < LONG_MAX ? (long)memory : LONG_MAX;
}

/* The DCT's own scaling, while it leaves at least fast_to pixels. */
static void choose_scale(npr_jpeg *j)
{
    struct jpeg_decompress_struct *d = &j->d;
    unsigned side = d->image_width < d->image_height ? d->image_width : d->image_height, denom = 1;
    if (j->limits.fast_to > 0)
        while (denom < 8 && side / (2 * denom) >= (unsigned)j->limits.fast_to) denom *= 2;
    d->scale_num = 1;
    d->scale_denom = denom;
}

static void invert(uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++) p[i] = (uint8_t)~p[i];
}

static void read_rows(npr_jpeg *j, npr_pixels *out)
{
    enum { AT_ONCE = 16 };
    struct jpeg_decompress_struct *d = &j->d;
    size_t stride = (size_t)out->width * (size_t)out->channels;
    while (d->output_scanline < d->output_height) {
        JSAMPROW row[AT_ONCE];
        JDIMENSION y = d->output_scanline, n = d->output_height - y;
        if (n > AT_ONCE) n = AT_ONCE;
        for (JDIMENSION i = 0; i < n; i++) row[i] = out->data + (size_t)(y + i) * stride;
        n = jpeg_read_scanlines(d, row, n);
        if (n == 0) give_up(j, NPR_IMAGE_TRUNCATED); /* suspension, which src_fill leaves no room for */
        if (out->channels == 4)
            invert(row[0], n * stride); /* as Adobe writes CMYK; Pillow always takes it so */
    }
}

/* From the first byte to the last; leaves by give_up(). */
static void decode(npr_jpeg *j, npr_pixels *out)
{
    struct jpeg_decompress_struct *d = &j->d;
    jpeg_create_decompress(d);
    d->src = &j->src;
    d->progress = &j->progress;
    while (jpeg_read_header(d, FALSE) == JPEG_HEADER_TABLES_ONLY) continue;
    judge_header(j);
    choose_scale(j);
    (void)jpeg_start_decompress(d); /* what these return tells of suspension only */
    out->width = (int)d->output_width;
    out->height = (int)d->output_height;
    out->channels = d->output_components;
    size_t bytes = (size_t)out->width * (size_t)out->height * (size_t)out->channels;
    j->status = npr_grow(&out->data, &out->cap, bytes + NPR_PIXELS_SPARE, 1, "decoded pixels");
    if (j->status) longjmp(j->out, 1);
    memset(out->data + bytes, 0, NPR_PIXELS_SPARE);
    read_rows(j, out);
    j->whole = 1;
    (void)jpeg_finish_decompress(d);
}

npr_status npr_jpeg_decode(npr_jpeg *j, const void *bytes, size_t n, npr_pixels *out, npr_image_fault *fault)
{
    static const uint8_t magic[3] = {0xff, 0xd8, 0xff};
    *fault = NPR_IMAGE_NOT_JPEG;
    if (n < sizeof magic || memcmp(bytes, magic, sizeof magic) != 0) return NPR_OK;
    begin(j, bytes, n);
    if (setjmp(j->out) == 0) decode(j, out);
    jpeg_destroy_decompress(&j->d);
    *fault = j->fault;
    return j->status;
}

/* ---- encoding ---- */

typedef struct encoder {
    struct jpeg_compress_struct c;
    struct jpeg_error_mgr err;
    struct jpeg_destination_mgr dest;
    jmp_buf out;
    uint8_t **bytes;
    size_t *cap;
    npr_status status;
} encoder;

static void on_encode_error(j_common_ptr c)
{
    encoder *e = c->client_data;
    char text[JMSG_LENGTH_MAX];
    c->err->format_message(c, text);
    e->status = npr_fail(NPR_EINTERNAL, "the JPEG encoder failed: %s", text);
    longjmp(e->out, 1);
}

static void dest_nothing(j_compress_ptr c)
{
    (void)c;
}

/* Room behind what was written; at first none was. */
static boolean dest_grow(j_compress_ptr c)
{
    encoder *e = c->client_data;
    size_t used = e->dest.next_output_byte ? *e->cap : 0;
    e->status = npr_grow(e->bytes, e->cap, used + 4096, 1, "an encoded JPEG");
    if (e->status) longjmp(e->out, 1);
    e->dest.next_output_byte = *e->bytes + used;
    e->dest.free_in_buffer = *e->cap - used;
    return TRUE;
}

static void dest_begin(j_compress_ptr c)
{
    (void)dest_grow(c);
}

static void encode(encoder *e, const uint8_t *rgb, int width, int height, int quality)
{
    struct jpeg_compress_struct *c = &e->c;
    jpeg_create_compress(c);
    c->dest = &e->dest;
    c->image_width = (JDIMENSION)width;
    c->image_height = (JDIMENSION)height;
    c->input_components = 3;
    c->in_color_space = JCS_RGB;
    jpeg_set_defaults(c);
    jpeg_set_quality(c, quality, TRUE);
    jpeg_start_compress(c, TRUE);
    while (c->next_scanline < c->image_height) {
        /* the library takes rows as not const, and does not write to them */
        JSAMPROW row = (JSAMPROW)(uintptr_t)(rgb + (size_t)c->next_scanline * (size_t)width * 3);
        (void)jpeg_write_scanlines(c, &row, 1);
    }
    jpeg_finish_compress(c);
}

/* Here, so that e is no variable of the function that calls setjmp. */
static void encode_guarded(encoder *e, const uint8_t *rgb, int width, int height, int quality)
{
    if (setjmp(e->out) == 0) encode(e, rgb, width, height, quality);
    jpeg_destroy_compress(&e->c);
}

npr_status npr_jpeg_encode(const uint8_t *rgb, int width, int height, int quality, uint8_t **bytes,
                           size_t *cap, size_t *n)
{
    encoder e = {.bytes = bytes, .cap = cap};
    if (width < 1 || height < 1 || width > JPEG_MAX_DIMENSION || height > JPEG_MAX_DIMENSION)
        return npr_fail(NPR_EUSAGE, "a JPEG has sides of 1 to %ld pixels, not %d x %d", JPEG_MAX_DIMENSION,
                        width, height);
    jpeg_std_error(&e.err);
    e.err.error_exit = on_encode_error;
    e.err.output_message = on_output;
    e.dest = (struct jpeg_destination_mgr){NULL, 0, dest_begin, dest_grow, dest_nothing};
    e.c.err = &e.err;
    e.c.client_data = &e;
    encode_guarded(&e, rgb, width, height, quality);
    *n = e.status ? 0 : *cap - e.dest.free_in_buffer;
    return e.status;
}

#define TEXT_OF(token)      #token
#define VERSION_TEXT(token) TEXT_OF(token)

const char *npr_jpeg_version(void)
{
    return "libjpeg-turbo " VERSION_TEXT(LIBJPEG_TURBO_VERSION);
}
