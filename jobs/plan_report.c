/* plan_report.c - see plan_report.h. */
#include "plan_report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double GIB = 1 << 30;

npr_status npr_plan_limits_read(const char *memory, const char *limit, npr_plan_limits *l)
{
    static const char unit[] = "KMGT";
    char *end = NULL;
    *l = (npr_plan_limits){0};
    if (memory) {
        double v = strtod(memory, &end);
        const char *at = *end ? strchr(unit, *end) : unit + 2;
        if (end == memory || !(v > 0) || !at || (*end && end[1]))
            return npr_fail(NPR_EUSAGE, "--memory=%s: wanted a size such as 256G", memory);
        l->memory = v * pow(1024, (double)(at - unit) + 1);
    }
    if (limit) {
        int days = 0, h = 0, m = 0, s = 0, n = 0;
        int whole = (sscanf(limit, "%d-%d:%d:%d%n", &days, &h, &m, &s, &n) == 4 && !limit[n]) ||
                    (days = 0, sscanf(limit, "%d:%d:%d%n", &h, &m, &s, &n) == 3 && !limit[n]) ||
                    (h = s = 0, sscanf(limit, "%d%n", &m, &n) == 1 && !limit[n]);
        l->seconds = ((days * 24.0 + h) * 60 + m) * 60 + s;
        if (!whole || !(l->seconds > 0))
            return npr_fail(NPR_EUSAGE, "--time=%s: wanted a time such as 24:00:00", limit);
    }
    return NPR_OK;
}

/* ---- lines of the record ------------------------------------------------------------------------------- */

typedef struct report {
    const npr_log *log;
    npr_record *rec;
    const npr_plan_stage *stage; /* NULL: the only one */
} report;

static const char *key_of(const report *r, const char *name, char key[96])
{
    snprintf(key, 96, "plan.%s%s%s", r->stage ? r->stage->name : "", r->stage ? "." : "", name);
    return key;
}

static void put(const report *r, const char *name, double v)
{
    char key[96];
    if (isnan(v))
        npr_record_text(r->rec, key_of(r, name, key), "unknown");
    else
        npr_record_real(r->rec, key_of(r, name, key), v);
}

static void put_seconds(const report *r, const npr_plan_needs *n)
{
    char name[64], key[96];
    if (!n->phases) return;
    put(r, "seconds", n->seconds);
    for (int i = 0; i < n->phases; i++) {
        snprintf(name, sizeof name, "seconds.%s", n->phase[i].name);
        put(r, name, n->phase[i].seconds);
        snprintf(name, sizeof name, "model.%s", n->phase[i].name);
        npr_record_text(r->rec, key_of(r, name, key), n->phase[i].model);
    }
}

void npr_plan_report_seconds(const npr_log *log, npr_record *rec, const npr_plan_needs *needs)
{
    report r = {log, rec, NULL};
    put_seconds(&r, needs);
    if (needs->phases && !isnan(needs->seconds))
        npr_info(log, "dry run: %.3g s by the calibration", needs->seconds);
}

/* ---- what fits ----------------------------------------------------------------------------------------- */

/* Slurm's time: half as long again and five minutes for the start, at most the limit; the limit if seconds
 * are not known, and 0, nothing to say, if that is not known either. */
static double time_of(const npr_plan_needs *n, const npr_plan_limits *limits)
{
    if (!n->phases || isnan(n->seconds)) return limits->seconds;
    double seconds = 1.5 * n->seconds + 300;
    return limits->seconds > 0 ? fmin(seconds, limits->seconds) : seconds;
}

npr_plan_cluster npr_plan_busy_nodes(const npr_plan_needs *n, const npr_plan_cluster *c)
{
    npr_plan_cluster busy = *c;
    double per_node = c->ranks / c->nodes;
    if (n->busy > 0) busy.nodes = fmin(c->nodes, ceil(n->busy / per_node));
    busy.ranks = busy.nodes * per_node;
    return busy;
}

static void put_sbatch(const report *r, const npr_plan_needs *asked, const npr_plan_cluster *busy,
                       const npr_plan_limits *limits)
{
    double per_node = busy->ranks / busy->nodes, node = asked->memory * per_node;
    char line[256], mem[32] = "", time[48] = "", key[96];
    long minutes = (long)ceil(time_of(asked, limits) / 60);
    double wanted = ceil(1.2 * node / 1048576);
    if (limits->memory > 0) wanted = fmin(wanted, floor(limits->memory / 1048576));
    if (!isnan(node)) snprintf(mem, sizeof mem, " --mem=%.0fM", wanted);
    if (minutes > 0) snprintf(time, sizeof time, " --time=%02ld:%02ld:00", minutes / 60, minutes % 60);
    snprintf(line, sizeof line,
             "#SBATCH --nodes=%.0f --ntasks-per-node=%.0f --cpus-per-task=%.0f%s%s --signal=B:USR1@300",
             busy->nodes, per_node, busy->threads, mem, time);
    npr_record_text(r->rec, key_of(r, "sbatch", key), line);
}

static void put_fit(const report *r, const npr_plan_cluster *c, const npr_plan_cluster *busy,
                    const npr_plan_limits *limits, double node)
{
    const npr_plan_needs *n = &r->stage->needs;
    const char *name = r->stage->name;
    double fits = 1;
    if (limits->memory > 0 && node > limits->memory) {
        npr_warn(r->log,
                 "%s does not fit: a node needs %.1f GiB, %.1f GiB more than it has; fewer ranks per node, "
                 "--query-batch "
                 "or a smaller --sample would help",
                 name, node / GIB, (node - limits->memory) / GIB);
        fits = 0;
    }
    if (limits->seconds > 0 && r->stage->whole > limits->seconds) {
        npr_warn(
            r->log,
            "%s does not fit: training takes %.0f s and cannot be interrupted, %.0f s more than a job has",
            name, r->stage->whole, r->stage->whole - limits->seconds);
        fits = 0;
    } else if (limits->seconds > 0 && n->seconds > limits->seconds) {
        npr_warn(r->log,
                 "%s takes %.0f s, %.0f s more than a job has: it will be queued again, %.0f jobs in all",
                 name, n->seconds, n->seconds - limits->seconds, ceil(n->seconds / limits->seconds));
        put(r, "jobs", ceil(n->seconds / limits->seconds));
    } else if (limits->seconds > 0 && n->phases && isnan(n->seconds)) {
        npr_warn(r->log, "%s: its time is not known, so that nothing is said of the limit", name);
        if (fits > 0) fits = NAN;
    }
    if (limits->memory > 0 || limits->seconds > 0) put(r, "fits", fits);
    if (n->busy > 0 && n->busy < c->ranks)
        npr_warn(r->log,
                 "%s: %.0f of %.0f ranks have no part or tile to work on: its #SBATCH line asks for %.0f of "
                 "%.0f nodes; smaller parts (--part-rows)%s would give work to more",
                 name, c->ranks - n->busy, c->ranks, busy->nodes, c->nodes,
                 strcmp(name, "solve") ? "" : " or tiles (--tile-rows)");
}

void npr_plan_report(const npr_log *log, npr_record *rec, const npr_plan_stage *stage,
                     const npr_plan_cluster *c, const npr_plan_needs *asked, const npr_plan_cluster *busy,
                     const npr_plan_limits *limits)
{
    report r = {log, rec, stage};
    const npr_plan_needs *n = &stage->needs;
    double node = n->memory * c->ranks / c->nodes;
    put(&r, "files", n->files);
    put(&r, "disk_gib", n->disk / GIB);
    put(&r, "read_gib", n->read / GIB);
    put(&r, "sent_gib_per_rank", n->sent / GIB);
    put(&r, "memory_gib_per_rank", n->memory / GIB);
    put(&r, "memory_gib_per_node", node / GIB);
    put_seconds(&r, n);
    put_fit(&r, c, busy, limits, node);
    put_sbatch(&r, asked, busy, limits);
    char seconds[48] = "";
    if (n->phases && !isnan(n->seconds)) snprintf(seconds, sizeof seconds, ", %.0f s", n->seconds);
    npr_info(log, "%-7s %8.0f files, %10.1f GiB written, %10.1f read, %7.2f GiB of memory a rank%s",
             stage->name, n->files, n->disk / GIB, n->read / GIB, n->memory / GIB, seconds);
}
