/* SPDX-License-Identifier: Apache-2.0
 * Helpers of programs that are built to explain each packet; other programs do not include this. */
#ifndef SS_TRACE_H
#define SS_TRACE_H

#include "ss.h"

#include <stdio.h>

#define SS_TRACE_TEXT 8192

/* Appends a value of n bytes as hexadecimal digits; what does not fit is left out. */
SS_HELPER void ss_trace_hex(char *text, size_t *at, ss_u128 value, unsigned n)
{
    while (n-- > 0 && *at + 3 <= SS_TRACE_TEXT)
        *at += (size_t)snprintf(text + *at, 3, "%02x", (unsigned)(value >> (8 * n) & 0xff));
}

/* The same for a byte string. */
SS_HELPER void ss_trace_bytes(char *text, size_t *at, const void *bytes, unsigned n)
{
    for (unsigned i = 0; i < n && *at + 3 <= SS_TRACE_TEXT; i++)
        *at += (size_t)snprintf(text + *at, 3, "%02x", ((const uint8_t *)bytes)[i]);
}

/* A value without leading zeros, as BMv2 shows action parameters. */
SS_HELPER void ss_trace_short(char *text, size_t *at, ss_u128 value)
{
    int n = value >> 64 ? snprintf(text + *at, SS_TRACE_TEXT - *at, "%llx%016llx",
                                   (unsigned long long)(value >> 64), (unsigned long long)value)
                        : snprintf(text + *at, SS_TRACE_TEXT - *at, "%llx",
                                   (unsigned long long)value);
    *at = ss_min64(*at + (size_t)n, SS_TRACE_TEXT - 1);
}

SS_HELPER void ss_trace_text(char *text, size_t *at, const char *more)
{
    int n = snprintf(text + *at, SS_TRACE_TEXT - *at, "%s", more);
    *at = ss_min64(*at + (size_t)n, SS_TRACE_TEXT - 1);
}

#endif
