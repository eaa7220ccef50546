/* test_train_mpi.c - training rows come to their places in the shuffle, whichever rank read them; draws of
 * shots are nested, balanced and the same everywhere. */
#include "prime/train.h"

#include "base/half.h"
#include "base/rng.h"
#include "test.h"

enum { ROWS = 2500, DIM = 8, CLASSES = 9, SHOTS = 310, SEED = 77 };

static int is_labelled(int i)
{
    return i % 7 != 3;
}

/* Write `rows` rows: their ids tell their numbers, a value of theirs too. */
static void write_set(const npr_comm *c, const char *path, int rows, int base)
{
    npr_set_plan plan = {.path = path,
                         .kind = "pool",
                         .model = "test",
                         .job = path,
                         .dim = DIM,
                         .columns = NPR_COL(NPR_EMB) | NPR_COL(NPR_ID) | NPR_COL(NPR_LABEL),
                         .part_rows = 1024};
    npr_set_writer *w;
    int complete, parts = (rows + 1023) / 1024;
    CHECK_OK(npr_set_begin(c, &plan, &w, &complete));
    for (int p = 0; c->rank == 0 && p < parts; p++) {
        npr_part_writer *part;
        npr_part_entry entry;
        npr_rows r;
        CHECK_OK(npr_rows_make(&r, plan.columns, DIM, 1024));
        for (int i = p * 1024; i < rows && i < (p + 1) * 1024; i++) {
            memset(r.emb + r.n * DIM, 0, DIM * sizeof *r.emb);
            r.emb[r.n * DIM] = npr_half_round((float)(i % 1000) / 1024);
            r.emb[r.n * DIM + 1] = npr_half_round((float)(i / 1000) / 1024);
            r.id[r.n] = base + i;
            r.label[r.n] = is_labelled(i) ? i % CLASSES : -1;
            CHECK_OK(npr_rows_next(&r));
        }
        CHECK_OK(npr_part_create(npr_set_folder(w), p, plan.columns, DIM, &part));
        CHECK_OK(npr_part_append(part, &r));
        CHECK_OK(npr_part_commit(part, &entry));
        CHECK_OK(npr_set_commit_part(w, p, &entry));
        npr_rows_free(&r);
    }
    CHECK_OK(npr_set_finish(c, w, parts));
    npr_set_end(w);
}

/* Row i of the list lies in atom shuffled(i) / 32, in order of places, and the atoms of all ranks are all. */
static void check_train(const npr_comm *c, const npr_train *t, int64_t all, int64_t labelled)
{
    int64_t found = 0;
    CHECK_INT(t->rows, labelled);
    CHECK_INT(t->atoms, (all + NPR_ATOM_ROWS - 1) / NPR_ATOM_ROWS);
    for (int64_t a = t->first; a < t->last; a++) {
        int64_t before = -1;
        for (int64_t k = t->start[a - t->first]; k < t->start[a - t->first + 1]; k++, found++) {
            const uint16_t *x = t->emb + k * DIM;
            int i =
                (int)(npr_half_value(x[0]) * 1024 + 0.5f) + 1000 * (int)(npr_half_value(x[1]) * 1024 + 0.5f);
            int64_t place = npr_rng_shuffled(SEED, all, i);
            CHECK(place / NPR_ATOM_ROWS == a && place > before);
            CHECK(is_labelled(i) && t->label[k] == i % CLASSES);
            before = place;
        }
    }
    npr_sum_i64(c, &found, 1);
    CHECK_INT(found, labelled);
}

static void test_load(const npr_comm *c, const npr_log *log, const npr_set *set)
{
    npr_train t;
    int64_t labelled = 0;
    for (int i = 0; i < ROWS; i++) labelled += is_labelled(i);
    npr_material m = {.pool = set, .tile_rows = 100};
    CHECK_OK(npr_train_load(c, log, &m, SEED, &t));
    check_train(c, &t, ROWS, labelled);
    npr_train_free(&t);
    int64_t id[] = {5, 6, 2499}; /* rows left out */
    npr_ids without = {3, id};
    m.without = &without;
    CHECK_OK(npr_train_load(c, log, &m, SEED, &t));
    check_train(c, &t, ROWS, labelled - 3);
    npr_train_free(&t);
}

static void test_draw(const npr_comm *c, const npr_log *log, const npr_set *pool, const npr_set *shots)
{
    npr_deck deck;
    npr_draw one, three, other, all;
    CHECK_OK(npr_deck_read(c, log, shots, 33, &deck));
    for (int i = 0; i < SHOTS; i++)
        CHECK(deck.id[i] == 10000 + i && deck.label[i] == (is_labelled(i) ? i % CLASSES : -1));
    CHECK_OK(npr_draw_make(&deck, CLASSES, 1, 4, &one));
    CHECK_OK(npr_draw_make(&deck, CLASSES, 3, 4, &three));
    CHECK_OK(npr_draw_make(&deck, CLASSES, 3, 5, &other));
    CHECK_OK(npr_draw_make(&deck, CLASSES, 1000, 4, &all));
    CHECK_INT(one.rows, CLASSES);
    CHECK_INT(three.rows, 3 * CLASSES);
    int differ = 0, number = 0, labelled = 0, of_class[CLASSES] = {0};
    for (int i = 0; i < SHOTS; i++) {
        labelled += is_labelled(i);
        CHECK(one.number[i] < 0 || three.number[i] >= 0); /* nested */
        CHECK((all.number[i] >= 0) == is_labelled(i));
        differ += (three.number[i] >= 0) != (other.number[i] >= 0);
        if (three.number[i] < 0) continue;
        CHECK_INT(three.number[i], number++);
        of_class[i % CLASSES]++;
    }
    for (int k = 0; k < CLASSES; k++) CHECK_INT(of_class[k], 3);
    CHECK_INT(all.rows, labelled);
    CHECK(differ > CLASSES);
    npr_train t;
    npr_material m = {.pool = pool, .shots = shots, .draw = &three, .tile_rows = 64};
    CHECK_INT(npr_material_rows(&m), ROWS + 3 * CLASSES);
    CHECK_OK(npr_train_load(c, log, &m, SEED, &t));
    int64_t rows = 0;
    for (int i = 0; i < ROWS; i++) rows += is_labelled(i);
    CHECK_INT(t.rows, rows + 3 * CLASSES);
    npr_train_free(&t);
    npr_draw_free(&one);
    npr_draw_free(&three);
    npr_draw_free(&other);
    npr_draw_free(&all);
    npr_deck_free(&deck);
}

int main(void)
{
    MPI_Init(NULL, NULL);
    npr_comm c = npr_comm_make(MPI_COMM_WORLD);
    npr_log log = npr_log_make(&c, "test", 1);
    char folder[64], pool[96], shots[96];
    snprintf(folder, sizeof folder, "%s", c.rank == 0 ? test_folder() : "");
    npr_bcast(&c, folder, sizeof folder, 0);
    snprintf(pool, sizeof pool, "%s/pool", folder);
    snprintf(shots, sizeof shots, "%s/shots", folder);
    write_set(&c, pool, ROWS, 0);
    write_set(&c, shots, SHOTS, 10000);
    npr_set *p, *s;
    CHECK_OK(npr_set_open_all(&c, pool, &p));
    CHECK_OK(npr_set_open_all(&c, shots, &s));
    test_load(&c, &log, p);
    test_draw(&c, &log, p, s);
    npr_set_free(p);
    npr_set_free(s);
    MPI_Barrier(c.mpi);
    if (c.rank == 0) test_folder_remove();
    npr_comm_free(&c);
    MPI_Finalize();
    return TEST_END();
}
