/* sheet.h - a contact sheet: pictures of a set's rows side by side, a line per class, as a JPEG. To look at
 * what was recalled. */
#ifndef NPR_SHEET_H
#define NPR_SHEET_H

#include "npr/comm.h"
#include "npr/log.h"
#include "npr/record.h"
#include "npr/status.h"

typedef struct npr_sheet_job {
    const char *set;     /* rows with `label` and `source` */
    const char *root;    /* where the containers that `source` names lie; NULL: here */
    const char *classes; /* numbers with commas between, a line of the sheet for each */
    const char *out;     /* the JPEG */
    int columns, side;   /* pictures per line; pixels of a picture's side, cropped square as CLIP sees it */
    int dry_run;
} npr_sheet_job;

/* The first `columns` rows of each class, in the order of the set. A picture that cannot be read is a grey
 * square and counted. Rank 0 does it. Collective. */
npr_status npr_sheet_run(const npr_comm *comm, const npr_log *log, npr_record *rec, const npr_sheet_job *job);

#endif
