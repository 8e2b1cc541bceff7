/* SPDX-License-Identifier: Apache-2.0
 * Two's complement integers of SS_BIG_WORDS words, for arithmetic beyond 128 bits. The generated
 * program defines the number so that no value of it overflows. Least significant word first. */
#ifndef SS_BIG_H
#define SS_BIG_H

#include "ss_bits.h"

struct ss_big {
    uint64_t w[SS_BIG_WORDS];
};

SS_HELPER struct ss_big ss_big_s(ss_s128 v)
{
    struct ss_big x;
    for (unsigned i = 0; i < SS_BIG_WORDS; i++)
        x.w[i] = i == 0 ? (uint64_t)v : i == 1 ? (uint64_t)(v >> 64) : (uint64_t)(v >> 127);
    return x;
}

SS_HELPER struct ss_big ss_big_u(ss_u128 v)
{
    struct ss_big x = {{(uint64_t)v, (uint64_t)(v >> 64)}};
    return x;
}

/* A field: n bytes, most significant first. */
SS_HELPER struct ss_big ss_big_load(const uint8_t *p, uint32_t n)
{
    struct ss_big x = {{0}};
    for (uint32_t i = 0; 8 * i < n; i++)
        x.w[i] = ss_wide_word(p, n, i);
    return x;
}

/* The lowest `width` bits into a field of n bytes. */
SS_HELPER void ss_big_store(uint8_t *p, uint32_t n, uint32_t width, struct ss_big x)
{
    for (uint32_t i = 0; i < n; i++)
        p[n - 1 - i] = (uint8_t)(x.w[i / 8] >> (8 * (i % 8)));
    if (width % 8)
        p[0] &= (uint8_t)((1u << (width % 8)) - 1);
}

SS_HELPER ss_u128 ss_big_low(struct ss_big x)
{
    return ((ss_u128)x.w[1] << 64) | x.w[0];
}

SS_HELPER struct ss_big ss_big_not(struct ss_big a)
{
    for (unsigned i = 0; i < SS_BIG_WORDS; i++)
        a.w[i] = ~a.w[i];
    return a;
}

SS_HELPER struct ss_big ss_big_and(struct ss_big a, struct ss_big b)
{
    for (unsigned i = 0; i < SS_BIG_WORDS; i++)
        a.w[i] &= b.w[i];
    return a;
}

SS_HELPER struct ss_big ss_big_or(struct ss_big a, struct ss_big b)
{
    for (unsigned i = 0; i < SS_BIG_WORDS; i++)
        a.w[i] |= b.w[i];
    return a;
}

SS_HELPER struct ss_big ss_big_xor(struct ss_big a, struct ss_big b)
{
    for (unsigned i = 0; i < SS_BIG_WORDS; i++)
        a.w[i] ^= b.w[i];
    return a;
}

SS_HELPER struct ss_big ss_big_add(struct ss_big a, struct ss_big b)
{
    ss_u128 carry = 0;
    for (unsigned i = 0; i < SS_BIG_WORDS; i++) {
        carry += (ss_u128)a.w[i] + b.w[i];
        a.w[i] = (uint64_t)carry;
        carry >>= 64;
    }
    return a;
}

SS_HELPER struct ss_big ss_big_sub(struct ss_big a, struct ss_big b)
{
    struct ss_big one = {{1}};
    return ss_big_add(ss_big_add(a, ss_big_not(b)), one);
}

SS_HELPER struct ss_big ss_big_mul(struct ss_big a, struct ss_big b)
{
    struct ss_big x = {{0}};
    for (unsigned i = 0; i < SS_BIG_WORDS; i++) {
        ss_u128 carry = 0;
        for (unsigned k = 0; i + k < SS_BIG_WORDS; k++) {
            carry += (ss_u128)a.w[i] * b.w[k] + x.w[i + k];
            x.w[i + k] = (uint64_t)carry;
            carry >>= 64;
        }
    }
    return x;
}

SS_HELPER struct ss_big ss_big_shl(struct ss_big a, uint64_t n)
{
    struct ss_big x = {{0}};
    uint64_t words = n / 64, bits = n % 64;
    for (uint64_t i = words; i < SS_BIG_WORDS; i++) {
        x.w[i] = a.w[i - words] << bits;
        if (bits && i > words)
            x.w[i] |= a.w[i - words - 1] >> (64 - bits);
    }
    return x;
}

/* Arithmetic: the sign fills up. */
SS_HELPER struct ss_big ss_big_shr(struct ss_big a, uint64_t n)
{
    uint64_t sign = a.w[SS_BIG_WORDS - 1] >> 63 ? UINT64_MAX : 0;
    uint64_t words = n / 64, bits = n % 64;
    struct ss_big x;
    for (uint64_t i = 0; i < SS_BIG_WORDS; i++) {
        uint64_t low = words < SS_BIG_WORDS - i ? a.w[i + words] : sign;
        uint64_t high = words + 1 < SS_BIG_WORDS - i ? a.w[i + words + 1] : sign;
        x.w[i] = bits ? low >> bits | high << (64 - bits) : low;
    }
    return x;
}

/* Below, at or above zero, as a compares with b. */
SS_HELPER int ss_big_cmp(struct ss_big a, struct ss_big b)
{
    int64_t high = (int64_t)a.w[SS_BIG_WORDS - 1], other = (int64_t)b.w[SS_BIG_WORDS - 1];
    if (high != other)
        return high < other ? -1 : 1;
    for (unsigned i = SS_BIG_WORDS; i-- > 0;)
        if (a.w[i] != b.w[i])
            return a.w[i] < b.w[i] ? -1 : 1;
    return 0;
}

/* The lowest `width` bits as a signed number. */
SS_HELPER struct ss_big ss_big_sext(struct ss_big a, uint64_t width)
{
    uint64_t spare = 64 * (uint64_t)SS_BIG_WORDS - width;
    return ss_big_shr(ss_big_shl(a, spare), spare);
}

SS_HELPER struct ss_big ss_big_clamp(struct ss_big a, struct ss_big low, struct ss_big high)
{
    return ss_big_cmp(a, low) < 0 ? low : ss_big_cmp(a, high) > 0 ? high : a;
}

#endif
