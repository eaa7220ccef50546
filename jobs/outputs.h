/* outputs.h - is all that a job is to write named well, and can it be written? Asked before its work: better
 * now than after a night, which would be lost. */
#ifndef NPR_JOB_OUTPUTS_H
#define NPR_JOB_OUTPUTS_H

#include "npr/comm.h"
#include "npr/log.h"
#include "npr/opt.h"
#include "npr/status.h"

/* table: n options, of which the first `own` are the program's. Names that clash (one for two outputs, a file
 * in a folder of --out or in place of a set's own file) are NPR_EUSAGE; what cannot be written is
 * NPR_ECREATE, or NPR_EIO where the disk is full. Then the folders of files are made. A dry run writes its
 * record alone: the program's own outputs are only looked at, and what is wrong with them is a warning, since
 * it may be right where the job will run. Rank 0 looks. Collective. */
npr_status npr_outputs_check(const npr_comm *comm, const npr_log *log, const npr_opt *table, size_t own,
                             size_t n, int dry_run);

#endif
