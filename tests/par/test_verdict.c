/* When "nothing moves" becomes a verdict, and its words; time is an argument. */
#include "test.h"

#include "par/verdict.h"

static npr_beat beat(int rank, int64_t steps, const char *phase, int waiting)
{
    npr_beat b = {.steps = steps, .rank = rank, .process = 100 + rank, .waiting = waiting};
    snprintf(b.phase, sizeof b.phase, "%s", phase);
    snprintf(b.host, sizeof b.host, "node%d", rank);
    return b;
}

static void hear(npr_verdict *v, int rank, int64_t steps, const char *phase, int waiting, double now)
{
    npr_beat b = beat(rank, steps, phase, waiting);
    npr_verdict_hear(v, &b, now);
}

static npr_verdict make(int rank, int size)
{
    npr_verdict v;
    CHECK_OK(npr_verdict_make(&v, "npr-x", rank, size, size < 2 ? size : 2, 8));
    npr_verdict_forgive(&v, 100);
    return v;
}

/* Take "15:04:05 " from the beginning of every line. */
static void strip_clock(char *text)
{
    char *to = text;
    for (const char *line = text; *line;) {
        const char *end = strchr(line, '\n');
        int h, m, s, n = 0;
        CHECK(end && sscanf(line, "%2d:%2d:%2d %n", &h, &m, &s, &n) == 3 && n == 9);
        if (!end) return;
        memmove(to, line + n, (size_t)(end + 1 - line - n));
        to += end + 1 - line - n;
        line = end + 1;
    }
    *to = 0;
}

/* Everything the verdict says, each line without its time. */
static const char *words(const npr_verdict *v, double now)
{
    static char text[16384];
    int end[2];
    CHECK(pipe(end) == 0);
    npr_verdict_print(v, now, end[1]);
    close(end[1]);
    ssize_t n = read(end[0], text, sizeof text - 1);
    text[n > 0 ? n : 0] = 0;
    close(end[0]);
    strip_clock(text);
    return text;
}

static void one_moves(void)
{
    npr_verdict v = make(0, 3);
    for (int t = 100; t <= 130; t++) {
        hear(&v, 0, 1, "scan", 1, t);
        hear(&v, 1, 1, "scan", 1, t);
        hear(&v, 2, t, "scan", 0, t < 120 ? t : 120); /* the only one that works, until 120 */
        CHECK_INT(npr_verdict_stuck(&v, t, t), t >= 128);
    }
    npr_verdict_free(&v);
}

static void who_speaks(void)
{
    npr_verdict first = make(0, 4), second = make(1, 4), other = make(3, 4);
    for (int r = 0; r < 4; r++) {
        hear(&first, r, 1, "scan", 1, 100);
        hear(&second, r, 1, "scan", 1, 100);
    }
    hear(&other, 3, 1, "scan", 1, 100);
    CHECK_INT(npr_verdict_stuck(&first, 100, 107.9), 0);
    CHECK_INT(npr_verdict_stuck(&first, 100, 108), 1);
    CHECK_INT(npr_verdict_stuck(&second, 100, 110.9), 0); /* a quarter of the patience later, at least 3 s */
    CHECK_INT(npr_verdict_stuck(&second, 100, 111), 1);
    CHECK_INT(npr_verdict_stuck(&other, 100, 114.4), 0);
    CHECK_INT(npr_verdict_stuck(&other, 100, 114.6), 1); /* and rank 3 half a second after rank 2 */
    CHECK_INT(npr_verdict_stuck(&other, 109, 114.6), 0); /* a watcher is there: it knows better */
    npr_verdict_free(&first);
    npr_verdict_free(&second);
    npr_verdict_free(&other);
}

static void unknown_and_forgiven(void)
{
    npr_verdict v = make(0, 2);
    hear(&v, 0, 1, "scan", 1, 100);
    CHECK_INT(npr_verdict_stuck(&v, 100, 131), 0); /* rank 1 may be at work where nobody hears it */
    CHECK_INT(npr_verdict_stuck(&v, 100, 132), 1);
    CHECK(strstr(words(&v, 132), "rank 1: never heard of\n") != NULL);
    hear(&v, 1, 1, "scan", 1, 100);
    CHECK_INT(npr_verdict_stuck(&v, 100, 109), 1);
    npr_verdict_forgive(&v, 109);
    CHECK_INT(npr_verdict_stuck(&v, 100, 116), 0);
    npr_beat wrong = beat(7, 1, "scan", 0); /* no such rank */
    npr_verdict_hear(&v, &wrong, 110);
    hear(&v, 1, 9, "scan", 0, 110);
    hear(&v, 1, 8, "scan", 0, 111); /* overtaken on the way: old news */
    CHECK_INT(v.of[1].beat.steps, 9);
    npr_verdict_free(&v);
}

static void groups(void)
{
    npr_verdict v = make(0, 1000);
    for (int r = 0; r < 1000; r++) hear(&v, r, 1, "scan", r != 17, r == 17 ? 101 : 109);
    CHECK_TEXT(
        words(&v, 109.2),
        "npr-x: no progress for 0 s: the watchdog (--watchdog=8) ends the job; finished work is kept, "
        "run the same command again\n"
        "npr-x:   rank 17 (node17, process 117): silent for 8 s (stopped, or cut off); last phase: scan\n"
        "npr-x:   ranks 0-16,18-999: waiting for the others in: scan\n");
    for (int r = 0; r < 1000; r++) { /* as many phases as ranks: still a screenful */
        char phase[32];
        snprintf(phase, sizeof phase, "phase %d", r);
        hear(&v, r, 2, phase, 0, 110);
    }
    const char *text = words(&v, 111);
    int lines = 0;
    for (const char *c = text; *c; c++) lines += *c == '\n';
    CHECK_INT(lines, 14);
    CHECK(strstr(text, "and so on\n") != NULL);
    npr_verdict_free(&v);
}

int main(void)
{
    one_moves();
    who_speaks();
    unknown_and_forgiven();
    groups();
    return TEST_END();
}
