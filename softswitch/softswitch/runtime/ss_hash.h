/* SPDX-License-Identifier: Apache-2.0
 * Checksums and the hash algorithms of v1model, over byte strings. */
#ifndef SS_HASH_H
#define SS_HASH_H

#include "ss_bits.h"

/* Ones-complement arithmetic: 2^16 = 1 modulo 65535, so wider sums fold without loss. */
SS_INLINE uint64_t ss_csum_add(uint64_t sum, uint64_t value)
{
    return sum + (value >> 32) + (value & 0xffffffffu);
}

SS_HELPER uint64_t ss_csum_bytes(uint64_t sum, const uint8_t *p, uint32_t len)
{
    for (; len >= 4; p += 4, len -= 4)
        sum += ss_load(p, 4);
    if (len >= 2) {
        sum += ss_load(p, 2);
        p += 2;
        len -= 2;
    }
    if (len)
        sum += (uint64_t)p[0] << 8;
    return sum;
}

SS_INLINE uint16_t ss_csum_fold(uint64_t sum)
{
    sum = (sum >> 32) + (sum & 0xffffffffu);
    while (sum >> 16)
        sum = (sum >> 16) + (sum & 0xffff);
    return (uint16_t)~sum;
}

SS_HELPER uint64_t ss_hash_csum16(const uint8_t *p, uint32_t n)
{
    return ss_csum_fold(ss_csum_bytes(0, p, n));
}

/* CRC with reflected bits (the polynomial is given reflected), bit by bit: hash inputs are short. */
SS_HELPER uint64_t ss_crc_reflected(const uint8_t *p, uint32_t n, uint32_t poly, uint32_t crc)
{
    for (uint32_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int k = 0; k < 8; k++)
            crc = (crc >> 1) ^ (poly & -(crc & 1));
    }
    return crc;
}

SS_HELPER uint64_t ss_hash_crc16(const uint8_t *p, uint32_t n)
{
    return ss_crc_reflected(p, n, 0xa001, 0);
}

SS_HELPER uint64_t ss_hash_crc32(const uint8_t *p, uint32_t n)
{
    return ss_crc_reflected(p, n, 0xedb88320, 0xffffffff) ^ 0xffffffff;
}

SS_HELPER uint64_t ss_hash_crcCCITT(const uint8_t *p, uint32_t n)
{
    uint32_t crc = 0xffff;
    for (uint32_t i = 0; i < n; i++) {
        crc ^= (uint32_t)p[i] << 8;
        for (int k = 0; k < 8; k++)
            crc = ((crc << 1) ^ (crc & 0x8000 ? 0x1021 : 0)) & 0xffff;
    }
    return crc;
}

SS_HELPER uint64_t ss_hash_xor16(const uint8_t *p, uint32_t n)
{
    uint64_t x = 0;
    for (uint32_t i = 0; i < n; i++)
        x ^= i % 2 ? p[i] : (uint64_t)p[i] << 8;
    return x;
}

/* The last eight bytes of the input as one number. */
SS_HELPER uint64_t ss_hash_identity(const uint8_t *p, uint32_t n)
{
    uint64_t x = 0;
    for (uint32_t i = 0; i < n; i++)
        x = (x << 8) | p[i];
    return x;
}

#endif
