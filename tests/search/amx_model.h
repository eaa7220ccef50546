/* amx_model.h - the screen for AMX on any CPU, its instructions replaced by plain C. */
#ifndef NPR_TEST_AMX_MODEL_H
#define NPR_TEST_AMX_MODEL_H

#include "search/exact/screen.h"

extern const npr_screen amx_model; /* "amx-model" */

#endif
