/* cpu.c - see cpu.h. Bits and numbers: Intel's Software Developer's Manual, CPUID leaves 1 and 7, XCR0;
 * Linux, Documentation/arch/x86/xstate.rst. */
#include "base/cpu.h"

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    OSXSAVE = 1 << 27,            /* leaf 1, ecx */
    AMX = 1 << 22 | 1 << 24,      /* leaf 7, edx: AMX-BF16 and AMX-TILE */
    TILES = 17,                   /* what tiles are like, in XCR0; what is in them is the next bit */
    ARCH_REQ_XCOMP_PERM = 0x1023, /* of arch_prctl() */
};

/* The states of a thread that the system saves: XCR0. */
static uint32_t saved_states(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

int npr_cpu_amx_bf16(void)
{
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & OSXSAVE)) return 0;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & AMX) != AMX) return 0;
    if ((saved_states() >> TILES & 3) != 3) return 0;
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILES + 1) == 0;
}
#else
int npr_cpu_amx_bf16(void)
{
    return 0;
}
#endif
