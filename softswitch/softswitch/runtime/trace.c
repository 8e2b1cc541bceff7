/* SPDX-License-Identifier: Apache-2.0
 * What programs say about a packet, as lines for the log. */
#include "ss_switch.h"

#include <stdarg.h>
#include <stdio.h>

#define LINE 9000

uint64_t ss_log_dropped(struct ss_switch *sw);

static void put_line(struct ss_switch *sw, int level, const char *line, int n)
{
    uint32_t len = (uint32_t)ss_min64((uint64_t)n, LINE - 1);
    uint8_t *room = ss_queue_reserve(&sw->log, len, (uint32_t)level, sw->ctx.now_ns);
    if (room) {
        memcpy(room, line, len);
        ss_queue_commit(&sw->log, len);
    }
}

/* The record's tag is the level: 'T', 'D', 'E', and 'W' or 'I' from ss_say; 0 stands for the program's own log_msg. */
void ss_trace_op(struct ss_ctx *ctx, int level, const char *format, ...)
{
    struct ss_switch *sw = ctx->owner;
    char line[LINE];
    va_list args;
    int n = snprintf(line, sizeof(line), "[%llu.%u] [cxt 0] ", (unsigned long long)ctx->packet,
                     ctx->copy);
    va_start(args, format);
    n += vsnprintf(line + n, sizeof(line) - (size_t)n, format, args);
    va_end(args);
    put_line(sw, level, line, n);
}

void ss_say(struct ss_switch *sw, int level, const char *format, ...)
{
    char line[LINE];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    put_line(sw, level, line, n);
}

uint64_t ss_log_dropped(struct ss_switch *sw)
{
    pthread_mutex_lock(&sw->log.mutex);
    uint64_t dropped = sw->log.dropped;
    pthread_mutex_unlock(&sw->log.mutex);
    return dropped;
}
