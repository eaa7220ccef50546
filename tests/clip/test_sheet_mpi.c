/* Contact sheets: pictures of one colour come out where they belong, what cannot be read is grey, and what is
 * wrong is refused on all ranks alike. */
#include "test.h"

#include "base/file.h"
#include "npr/image.h"
#include "npr/set.h"
#include "npr/sheet.h"

enum { SIDE = 16, ROWS = 9, DIM = 32, GAP = 2 };

static npr_comm world;
static char folder[64];

static const uint8_t colour_of[ROWS][3] = {{200, 30, 30},  {30, 180, 40},  {40, 60, 210},
                                           {220, 210, 40}, {20, 20, 20},   {240, 240, 240},
                                           {120, 40, 130}, {30, 160, 160}, {90, 60, 30}};
static const int label_of[ROWS] = {0, 1, 2, 1, 0, 1, 2, 1, -1};

static const char *path_of(const char *name)
{
    static char path[4][128];
    static int next;
    char *p = path[next++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", folder, name);
    return p;
}

/* Row i: a square of one colour; row 3's bytes are damaged, row 5 is nowhere, row 7's container is missing.
 */
static void make_set(const char *name, uint32_t columns)
{
    npr_set_plan plan = {path_of(name), "pool", "test", "made=1", DIM, columns, 64};
    npr_set_writer *w;
    int complete;
    CHECK_OK(npr_set_begin(&world, &plan, &w, &complete));
    if (world.rank == 0) {
        npr_rows r;
        npr_part_writer *part;
        npr_part_entry entry;
        uint8_t rgb[32 * 32 * 3], *jpeg = NULL;
        char *all = NULL;
        size_t cap = 0, n, used = 0;
        FILE *f = open_memstream(&all, &used);
        CHECK_OK(npr_rows_make(&r, columns, DIM, ROWS));
        for (int i = 0; i < ROWS; i++) {
            for (int p = 0; p < 32 * 32 * 3; p++) rgb[p] = colour_of[i][p % 3];
            CHECK_OK(npr_jpeg_encode(rgb, 32, 32, 95, &jpeg, &cap, &n));
            if (i == 3) memset(jpeg, 0, 4);
            memset(r.emb + r.n * DIM, 0, DIM * sizeof *r.emb);
            r.emb[r.n * DIM] = 0x3c00; /* 1.0 */
            r.id[r.n] = i;
            if (r.label) r.label[r.n] = label_of[i];
            int64_t *source = r.source + 3 * r.n;
            source[0] = -1;
            if (i != 5) CHECK_OK(npr_rows_container(&r, i == 7 ? "missing.tar" : "some.tar", &source[0]));
            source[1] = ftell(f);
            source[2] = (int64_t)n;
            CHECK(fwrite(jpeg, 1, n, f) == n);
            CHECK_OK(npr_rows_next(&r));
        }
        fclose(f);
        CHECK_OK(npr_file_replace(path_of("some.tar"), all, used));
        CHECK_OK(npr_part_create(npr_set_folder(w), 0, columns, DIM, &part));
        CHECK_OK(npr_part_append(part, &r));
        CHECK_OK(npr_part_commit(part, &entry));
        CHECK_OK(npr_set_commit_part(w, 0, &entry));
        npr_rows_free(&r);
        free(all);
        free(jpeg);
    }
    CHECK_OK(npr_set_finish(&world, w, 1));
    npr_set_end(w);
}

static void check_cell(const npr_pixels *p, int line, int column, const uint8_t *colour)
{
    for (int y = 4; y < SIDE - 4; y += 2)
        for (int x = 4; x < SIDE - 4; x += 2) {
            int at = (GAP + line * (SIDE + GAP) + y) * p->width + GAP + column * (SIDE + GAP) + x;
            for (int k = 0; k < 3; k++) CHECK_NEAR(p->data[at * 3 + k], colour[k], 20);
        }
}

static void drawn(npr_log *log)
{
    static const uint8_t grey[3] = {160, 160, 160}, paper[3] = {255, 255, 255};
    npr_record *rec = npr_record_make();
    npr_sheet_job job = {path_of("set"), folder, "1,0,2,7", path_of("sheet.jpg"), 3, SIDE, 0};
    CHECK_OK(npr_sheet_run(&world, log, rec, &job));
    if (world.rank == 0) {
        char *bytes;
        size_t n;
        npr_jpeg *j;
        npr_pixels p = {0};
        npr_image_fault fault;
        CHECK_TEXT(npr_record_get(rec, "result.pictures"), "7");
        CHECK_TEXT(npr_record_get(rec, "result.unreadable"), "2");
        CHECK_OK(npr_file_read(job.out, 1 << 20, &bytes, &n));
        CHECK_OK(npr_jpeg_make(&(npr_jpeg_limits){0}, &j));
        CHECK_OK(npr_jpeg_decode(j, bytes, n, &p, &fault));
        CHECK(fault == NPR_IMAGE_OK && p.width == GAP + 3 * (SIDE + GAP) &&
              p.height == GAP + 4 * (SIDE + GAP));
        check_cell(&p, 0, 0, colour_of[1]);
        check_cell(&p, 0, 1, grey); /* damaged */
        check_cell(&p, 0, 2, grey); /* nowhere; the missing container would be the fourth */
        check_cell(&p, 1, 0, colour_of[0]);
        check_cell(&p, 1, 1, colour_of[4]);
        check_cell(&p, 1, 2, paper);
        check_cell(&p, 2, 0, colour_of[2]);
        check_cell(&p, 2, 1, colour_of[6]);
        for (int column = 0; column < 3; column++) check_cell(&p, 3, column, paper); /* nobody has label 7 */
        npr_pixels_free(&p);
        npr_jpeg_free(j);
        free(bytes);
    }
    npr_record_free(rec);
}

static void refused(npr_log *log)
{
    static const char *const wrong[] = {"", "x", "1,", "1;2", "-1", "99999999999"};
    npr_record *rec = npr_record_make();
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        npr_sheet_job job = {path_of("set"), folder, wrong[i], path_of("none.jpg"), 3, SIDE, 0};
        CHECK_FAILS(npr_sheet_run(&world, log, rec, &job), NPR_EUSAGE, "numbers with commas");
    }
    npr_sheet_job job = {path_of("bare"), folder, "1", path_of("none.jpg"), 3, SIDE, 0};
    CHECK_FAILS(npr_sheet_run(&world, log, rec, &job), NPR_EDATA, "has no label");
    job.set = path_of("set");
    job.dry_run = 1;
    CHECK_OK(npr_sheet_run(&world, log, rec, &job));
    CHECK(!npr_file_exists(job.out));
    npr_record_free(rec);
}

int main(int argc, char **argv)
{
    MPI_Init(&argc, &argv);
    world = npr_comm_make(MPI_COMM_WORLD);
    npr_log log = npr_log_make(&world, "test", 1);
    if (world.rank == 0) snprintf(folder, sizeof folder, "%s", test_folder());
    npr_bcast(&world, folder, sizeof folder, 0);
    make_set("set", NPR_COL(NPR_EMB) | NPR_COL(NPR_ID) | NPR_COL(NPR_LABEL) | NPR_COL(NPR_SOURCE));
    make_set("bare", NPR_COL(NPR_EMB) | NPR_COL(NPR_ID) | NPR_COL(NPR_SOURCE));
    drawn(&log);
    refused(&log);
    MPI_Barrier(world.mpi);
    if (world.rank == 0) test_folder_remove();
    int failures = test_failures;
    MPI_Allreduce(MPI_IN_PLACE, &failures, 1, MPI_INT, MPI_SUM, world.mpi);
    npr_comm_free(&world);
    MPI_Finalize();
    return failures ? 1 : 0;
}
