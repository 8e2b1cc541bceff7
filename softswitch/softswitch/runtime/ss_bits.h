/* SPDX-License-Identifier: Apache-2.0
 * Loads, stores and bit fields in network byte order. All functions are safe for any alignment. */
#ifndef SS_BITS_H
#define SS_BITS_H

#include <stdint.h>
#include <string.h>

typedef unsigned __int128 ss_u128;
typedef __int128 ss_s128;

#define SS_INLINE static inline __attribute__((always_inline, unused))
#define SS_HELPER static inline __attribute__((unused))

/* n bytes (0..16), most significant first. n is a constant where speed matters. */
SS_INLINE ss_u128 ss_load_wide(const uint8_t *p, unsigned n)
{
    ss_u128 v = 0;
    for (unsigned i = 0; i < n; i++)
        v = (v << 8) | p[i];
    return v;
}

SS_INLINE uint64_t ss_load(const uint8_t *p, unsigned n)
{
    switch (n) {
    case 1:
        return p[0];
    case 2: {
        uint16_t v;
        memcpy(&v, p, 2);
        return __builtin_bswap16(v);
    }
    case 4: {
        uint32_t v;
        memcpy(&v, p, 4);
        return __builtin_bswap32(v);
    }
    case 6: {
        uint32_t hi;
        uint16_t lo;
        memcpy(&hi, p, 4);
        memcpy(&lo, p + 4, 2);
        return ((uint64_t)__builtin_bswap32(hi) << 16) | __builtin_bswap16(lo);
    }
    case 8: {
        uint64_t v;
        memcpy(&v, p, 8);
        return __builtin_bswap64(v);
    }
    default: {
        uint64_t v = 0;
        for (unsigned i = 0; i < n; i++)
            v = (v << 8) | p[i];
        return v;
    }
    }
}

SS_INLINE void ss_store(uint8_t *p, unsigned n, uint64_t v)
{
    switch (n) {
    case 1:
        p[0] = (uint8_t)v;
        break;
    case 2: {
        uint16_t x = __builtin_bswap16((uint16_t)v);
        memcpy(p, &x, 2);
        break;
    }
    case 4: {
        uint32_t x = __builtin_bswap32((uint32_t)v);
        memcpy(p, &x, 4);
        break;
    }
    case 6: {
        uint32_t hi = __builtin_bswap32((uint32_t)(v >> 16));
        uint16_t lo = __builtin_bswap16((uint16_t)v);
        memcpy(p, &hi, 4);
        memcpy(p + 4, &lo, 2);
        break;
    }
    case 8: {
        uint64_t x = __builtin_bswap64(v);
        memcpy(p, &x, 8);
        break;
    }
    default:
        for (unsigned i = n; i-- > 0; v >>= 8)
            p[i] = (uint8_t)v;
    }
}

/* Bits [off, off + width) of a byte string, bit 0 = most significant of byte 0; width 1..64. */
SS_HELPER uint64_t ss_get_bits(const uint8_t *p, uint32_t off, uint32_t width)
{
    uint32_t first = off / 8, last = (off + width - 1) / 8;
    ss_u128 v = ss_load_wide(p + first, last - first + 1);
    v >>= (last + 1) * 8 - (off + width);
    return width == 64 ? (uint64_t)v : (uint64_t)v & (((uint64_t)1 << width) - 1);
}

/* The reverse; the other bits of the touched bytes are kept. */
SS_HELPER void ss_put_bits(uint8_t *p, uint32_t off, uint32_t width, uint64_t value)
{
    while (width > 0) {
        uint32_t room = 8 - off % 8, take = width < room ? width : room;
        uint32_t shift = room - take;
        uint8_t mask = (uint8_t)(((1u << take) - 1) << shift);
        uint8_t bits = (uint8_t)((uint8_t)(value >> (width - take)) << shift);
        p[off / 8] = (uint8_t)((p[off / 8] & ~mask) | (bits & mask));
        off += take;
        width -= take;
    }
}

/* Fields wider than 128 bits are byte strings, right-aligned. Word i holds bits [64i, 64i+64). */
SS_HELPER uint64_t ss_wide_word(const uint8_t *p, uint32_t nbytes, uint32_t i)
{
    uint32_t end = nbytes - 8 * i;
    uint32_t n = end < 8 ? end : 8;
    uint64_t v = 0;
    for (uint32_t k = end - n; k < end; k++)
        v = (v << 8) | p[k];
    return v;
}

SS_HELPER void ss_wide_from_bits(uint8_t *dst, uint32_t nbytes, const uint8_t *src, uint32_t off,
                                 uint32_t width)
{
    memset(dst, 0, nbytes);
    for (uint32_t done = 0, pad = nbytes * 8 - width; done < width;) {
        uint32_t take = width - done < 64 ? width - done : 64;
        ss_put_bits(dst, pad + done, take, ss_get_bits(src, off + done, take));
        done += take;
    }
}

SS_HELPER void ss_wide_to_bits(uint8_t *dst, uint32_t off, const uint8_t *src, uint32_t nbytes,
                               uint32_t width)
{
    for (uint32_t done = 0, pad = nbytes * 8 - width; done < width;) {
        uint32_t take = width - done < 64 ? width - done : 64;
        ss_put_bits(dst, off + done, take, ss_get_bits(src, pad + done, take));
        done += take;
    }
}

SS_INLINE uint64_t ss_min64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

SS_INLINE ss_s128 ss_sign_extend(ss_u128 v, unsigned width)
{
    ss_u128 sign = (ss_u128)1 << (width - 1);
    v &= (sign << 1) - 1;
    return (ss_s128)((v ^ sign) - sign);
}

#endif
