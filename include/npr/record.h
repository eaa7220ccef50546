/* record.h - the result of a run as flat key=value lines on stdout, one record per run:
 *   run.*     where and when: program, version, host, cpu, ranks          (differs between runs)
 *   option.*  every option; --opts FILE reads them back
 *   result.*  what was found       } the same bits for every number of ranks, threads and batches
 *   check.*   digests of results   }
 *   time.*    seconds per phase: min, avg, max over ranks and the slowest rank
 *   work.*    bytes moved and operations done in a phase, over all ranks
 * Keys stand in the order in which they were added. All functions Local unless they take an npr_comm. */
#ifndef NPR_RECORD_H
#define NPR_RECORD_H

#include <stdint.h>
#include <stdio.h>

#include "npr/comm.h"

typedef struct npr_record npr_record;

npr_record *npr_record_make(void); /* NULL: no memory */
void npr_record_free(npr_record *r);

/* Add a line. Line breaks and control bytes in text are escaped. A record without memory drops lines;
 * npr_record_lost() says how many. */
void npr_record_text(npr_record *r, const char *key, const char *text);
void npr_record_int(npr_record *r, const char *key, int64_t v);
void npr_record_real(npr_record *r, const char *key, double v); /* %.17g for check.*, else %.9g */

/* Reduce this rank's seconds of a phase to time.PHASE.{min,avg,max,slowest}. Collective. */
void npr_record_time(const npr_comm *comm, npr_record *r, const char *phase, double seconds);

/* What this rank moved and computed in a phase, summed over ranks: work.PHASE.bytes and work.PHASE.flops,
 * where they are not 0. Collective. */
void npr_record_work(const npr_comm *comm, npr_record *r, const char *phase, double bytes, double flops);

/* Value of a key, NULL if absent. */
const char *npr_record_get(const npr_record *r, const char *key);

/* Lines that were dropped without memory. */
int64_t npr_record_lost(const npr_record *r);

/* Print all lines. */
npr_status npr_record_print(const npr_record *r, FILE *to);

#endif
