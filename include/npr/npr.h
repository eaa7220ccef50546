/* npr.h - the whole contract, in the order of the pipeline. Read status.h and set.h first: how failures
 * travel, and the one format on disk; then the header of the stage you are after. */
#ifndef NPR_H
#define NPR_H

/* foundation */
#include "npr/status.h"   /* npr_status: a code that is also an exit code, and a sentence */
#include "npr/opt.h"      /* one table gives parsing, --help, the record and --opts */
#include "npr/comm.h"     /* communicator, npr_agree(): one rank's failure becomes everybody's */
#include "npr/log.h"      /* messages and progress on stderr */
#include "npr/record.h"   /* results on stdout */
#include "npr/watchdog.h" /* ends a job that makes no progress */

/* data */
#include "npr/set.h"       /* the set: HDF5 parts and a manifest; everything on disk is one */
#include "npr/source.h"    /* .npy, TSV, JSON lines, SQLite -> set (npr-ingest) */
#include "npr/image.h"     /* JPEG -> pixels, as Pillow makes them */
#include "npr/minilaion.h" /* synthetic worlds in the published formats (npr-minilaion) */

/* method */
#include "npr/topk.h"   /* bounded lists under a total order, and their merge over ranks */
#include "npr/search.h" /* recall: exact, FAISS, captions -> pool (npr-index, npr-search) */
#include "npr/clip.h"   /* images and prompts -> features (npr-extract) */
#include "npr/sheet.h"  /* a contact sheet of a set's pictures (npr-sheet) */
#include "npr/prime.h"  /* class means, blending, accuracy (npr-solve) */

/* before and beside a job */
#include "npr/plan.h"  /* files, bytes, memory and seconds of a stage (npr-plan, --dry-run) */
#include "npr/bench.h" /* measurements beside the machine's limits (npr-bench) */

#endif
