/* phase.h - what the formulas of src/plan share. Local. */
#ifndef NPR_PLAN_PHASE_H
#define NPR_PLAN_PHASE_H

#include "npr/plan.h"

enum { NPR_PLAN_LIST_ROUNDS = 10 }; /* of k-means over lists */

/* Add a phase; its seconds count. */
void npr_plan_add(npr_plan_needs *n, const char *name, double seconds, const char *model);

/* The slower of two; NaN if either is. */
double npr_plan_slower(double a, double b);

/* How much faster a rank's threads are than those of the calibration, in work that they share. */
double npr_plan_team(const npr_plan_cluster *c, const npr_plan_machine *m);

/* Bytes of a column of bytes in so many parts: chunks of 1 MiB. */
double npr_plan_blob(double bytes, double parts);

/* Centroids that a row or a query is compared with: all, or those a graph leads past. */
double npr_plan_compared(const npr_plan_factory *f);

/* Ranks of a node. */
double npr_plan_ranks_per_node(const npr_plan_cluster *c);

/* Seconds of a collective in which every rank sends so many bytes in a logarithm of steps. */
double npr_plan_message(const npr_plan_cluster *c, double bytes);

#endif
