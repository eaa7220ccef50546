/* plan_report.h - a planned stage as lines of the record, and what does not fit as warnings. Local. */
#ifndef NPR_PLAN_REPORT_H
#define NPR_PLAN_REPORT_H

#include "npr/log.h"
#include "npr/plan.h"
#include "npr/record.h"

/* What a node and a job may have; 0: not checked. */
typedef struct npr_plan_limits {
    double memory, seconds;
} npr_plan_limits;

/* From "256G" (GiB; K, M, T too, no letter: GiB) and "HH:MM:SS" ("D-HH:MM:SS", minutes alone), as Slurm
 * writes them; NULL: not checked. */
npr_status npr_plan_limits_read(const char *memory, const char *limit, npr_plan_limits *l);

/* Of a --dry-run: plan.seconds, and per phase plan.seconds.* and plan.model.*; nothing without phases. */
void npr_plan_report_seconds(const npr_log *log, npr_record *rec, const npr_plan_needs *needs);

/* Of these nodes, as many as have work in this stage, with all their ranks. */
npr_plan_cluster npr_plan_busy_nodes(const npr_plan_needs *n, const npr_plan_cluster *c);

/* plan.STAGE.*, and a line of the log; plan.STAGE.sbatch of the busy nodes, and what the stage needs there. */
void npr_plan_report(const npr_log *log, npr_record *rec, const npr_plan_stage *stage,
                     const npr_plan_cluster *c, const npr_plan_needs *asked, const npr_plan_cluster *busy,
                     const npr_plan_limits *limits);

#endif
