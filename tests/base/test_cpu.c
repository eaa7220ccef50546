/* What the CPU is asked, against what Linux says of it. */
#include "base/cpu.h"

#include <sys/utsname.h>

#include "test.h"

/* 1 if /proc/cpuinfo lists this flag for the first CPU; -1 if it lists none. */
static int linux_says(const char *flag)
{
    static char line[1 << 16];
    FILE *f = fopen("/proc/cpuinfo", "r");
    int found = -1;
    while (f && found < 0 && fgets(line, sizeof line, f)) {
        if (strncmp(line, "flags", 5) != 0) continue;
        found = 0;
        for (char *word = strtok(line, " \n"); word; word = strtok(NULL, " \n")) found |= !strcmp(word, flag);
    }
    if (f) fclose(f);
    return found;
}

int main(void)
{
    struct utsname u;
    int major, minor, tile = linux_says("amx_tile"), bf16 = linux_says("amx_bf16");
    if (tile < 0 || uname(&u) || sscanf(u.release, "%d.%d", &major, &minor) != 2)
        SKIP("this is not Linux on a PC: nothing says what the CPU has");
    int leave = major > 5 || (major == 5 && minor >= 16);
    CHECK_INT(npr_cpu_amx_bf16(), tile && bf16 && leave);
    CHECK_INT(npr_cpu_amx_bf16(), tile && bf16 && leave); /* leave is given again */
    fprintf(stderr, "kernel %s\n", npr_cpu_amx_bf16() ? "amx" : "without amx");
    return TEST_END();
}
