/* status.c - the text behind a status, and injected faults. See include/npr/status.h. */
#include "npr/status.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TEXT_MAX = 2048 };

/* The only state kept outside of arguments: like errno, and for the same reason. */
static _Thread_local struct {
    npr_status code;
    char text[TEXT_MAX];
} last;

/* Copy src to dst with control bytes as \xNN, so that a hostile name cannot write to the terminal or the log.
 */
static void copy_escaped(char *dst, size_t size, const char *src)
{
    size_t o = 0;
    for (; *src && o + 5 < size; src++) {
        unsigned char c = (unsigned char)*src;
        if (c < 0x20 || c == 0x7f)
            o += (size_t)snprintf(dst + o, size - o, "\\x%02x", c);
        else
            dst[o++] = (char)c;
    }
    dst[o] = 0;
}

npr_status npr_fail_at(const char *file, int line, npr_status code, const char *fmt, ...)
{
    char raw[TEXT_MAX - 128];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(raw, sizeof raw, fmt, ap);
    va_end(ap);
    char clean[TEXT_MAX - 96];
    copy_escaped(clean, sizeof clean, raw);
    const char *src = strstr(file, "src/"), *place = src ? src + 4 : file;
    while (!strncmp(place, "../", 3)) place += 3;
    snprintf(last.text, sizeof last.text, "%s [%.60s:%d]", clean, place, line);
    last.code = code;
    return code;
}

npr_status npr_context(npr_status st, const char *fmt, ...)
{
    if (st == NPR_OK) return st;
    char raw[512], clean[512], text[TEXT_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(raw, sizeof raw, fmt, ap);
    va_end(ap);
    copy_escaped(clean, sizeof clean, raw);
    snprintf(text, sizeof text, "%s: %.1500s", clean, last.text);
    npr_status_set(st, text);
    return st;
}

npr_status npr_last(void)
{
    return last.code;
}

const char *npr_status_text(void)
{
    return last.text;
}

void npr_status_set(npr_status code, const char *text)
{
    last.code = code;
    snprintf(last.text, sizeof last.text, "%s", text);
}

npr_status npr_status_from_errno(int err)
{
    switch (err) {
    case ENOENT:
    case ENOTDIR:
    case EISDIR:
    case EACCES:
    case EPERM:
        return NPR_ENOINPUT;
    case ENOMEM:
        return NPR_EINTERNAL;
    default:
        return NPR_EIO;
    }
}

npr_status npr_status_from_create(int err)
{
    return err == ENOSPC || err == EDQUOT || err == EIO ? NPR_EIO : NPR_ECREATE;
}

/* ---- injected faults ----------------------------------------------------------------------------------- */

enum { SLOW = -1 };

static struct {
    int parsed, rank, at_rank, nth, passed, action; /* action: 0 fail, a signal, or SLOW */
    char point[64];
} fault;

static void fault_parse(void)
{
    fault.parsed = 1;
    const char *env = getenv("NPR_FAULT");
    if (!env) return;
    char action[16] = "fail";
    fault.nth = 1;
    int got = sscanf(env, "%63[^@]@%d", fault.point, &fault.at_rank);
    if (got != 2) fault.point[0] = 0;
    const char *colon = strchr(env, ':'), *equals = strchr(env, '=');
    if (colon) fault.nth = atoi(colon + 1);
    if (equals) snprintf(action, sizeof action, "%s", equals + 1);
    fault.action = !strcmp(action, "kill")     ? SIGKILL
                   : !strcmp(action, "stop")   ? SIGUSR1
                   : !strcmp(action, "freeze") ? SIGSTOP
                   : !strcmp(action, "slow")   ? SLOW
                                               : 0;
}

void npr_fault_rank(int rank)
{
    fault.rank = rank;
}

int npr_fault(const char *point)
{
    if (!fault.parsed) fault_parse();
    if (!fault.point[0] || fault.rank != fault.at_rank || strcmp(point, fault.point) != 0) return 0;
    if (++fault.passed != fault.nth && !(fault.action == SLOW && fault.passed > fault.nth)) return 0;
    if (fault.action == SLOW) {
        sleep(1);
        return 0;
    }
    if (fault.action) {
        raise(fault.action);
        return 0;
    }
    return 1;
}
