/* cpu.h - what of this CPU must be asked of the operating system too. Local. */
#ifndef NPR_BASE_CPU_H
#define NPR_BASE_CPU_H

/* 1 if this process may multiply bfloat16 in AMX's tiles: the CPU has AMX-TILE and AMX-BF16, the system keeps
 * the tiles of each thread (XCR0), and Linux (5.16 and later) gives leave. That must be asked for before the
 * first instruction of AMX, which is done here; it holds for all threads of the process. May be asked at any
 * time, by any thread; asking again costs a system call. */
int npr_cpu_amx_bf16(void);

#endif
