/* Strings of bits: spikes of one row, plane and step, the channels of each place side by side.
 * Bit i is bit i % 8 of byte i / 8. Written by spikec; standard C99. */
#ifndef NETWORK_BITS_H
#define NETWORK_BITS_H

#include <limits.h>
#include <stdint.h>
#include <string.h>

#if INT_MAX < 2147483647
#error "int needs 32 bits"
#endif

/* Weights of 8 bits that are added to wider sums, a row at a time. gcc widens bytes in registers with
 * more instructions than it adds, so they are kept wide where there is memory for it;
 * -DNETWORK_NARROW keeps them small there, too. */
#if defined(__AVX2__) && !defined(__clang__) && !defined(NETWORK_NARROW)
typedef int16_t network_weight;
#else
typedef int8_t network_weight;
#endif

/* A weight of `bits` bits that shares a byte, from bit `lowest` on. */
static inline int network_part(uint8_t byte, int lowest, int bits)
{
    return (byte >> lowest & ((1 << bits) - 1)) - (1 << (bits - 1));
}

/* Before short innermost loops: gcc 12 at -O3 unrolls them first, vectorises those around them, and
 * loses sums. Before others it must not stand: at -O1 sums are not set to 0 in their rounds then. */
#if defined(__GNUC__) && __GNUC__ >= 8 && !defined(__clang__)
#define NETWORK_SHORT _Pragma("GCC unroll 1")
#else
#define NETWORK_SHORT
#endif

/* First in each layer: gcc 12 for x86 (as in its PR 109780) may forget to align the stack of a function
 * that calls no other, and crashes where it keeps vectors there. So each calls one. */
#if defined(__GNUC__) && __GNUC__ >= 8 && __GNUC__ < 15 && !defined(__clang__) && defined(__AVX__)
static __attribute__((noipa, unused)) void network_called(void)
{
    __asm__ volatile ("");
}
#define NETWORK_CALLS network_called();
#else
#define NETWORK_CALLS
#endif

/* Bits are read a word at a time. */
typedef uint64_t network_word;
#define NETWORK_WORD 64

/* The number of the lowest bit that is set; `word` is not 0. */
static inline int network_lowest(network_word word)
{
#if defined(__GNUC__)
    return __builtin_ctzll(word);
#else
    int number = 0;
    for (int half = NETWORK_WORD / 2; half > 0; half /= 2) {
        if ((word & (((network_word)1 << half) - 1)) == 0) {
            word >>= half;
            number += half;
        }
    }
    return number;
#endif
}

/* Eight bytes as a word, the first one lowest, and back. */
static inline network_word network_eight(const uint8_t *p)
{
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    network_word word;
    memcpy(&word, p, sizeof word);
    return word;
#else
    network_word word = 0;
    for (int i = 0; i < 8; ++i)
        word |= (network_word)p[i] << (8 * i);
    return word;
#endif
}

static inline void network_put_eight(uint8_t *p, network_word word)
{
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    memcpy(p, &word, sizeof word);
#else
    for (int i = 0; i < 8; ++i)
        p[i] = (uint8_t)(word >> (8 * i));
#endif
}

/* `count` bits, NETWORK_WORD at most, from a bit that begins a byte. */
static inline network_word network_bytes(const uint8_t *bits, int bit, int count)
{
    const network_word word = network_eight(bits + bit / 8);
    return count < NETWORK_WORD ? word & (((network_word)1 << count) - 1) : word;
}

/* `count` bits, NETWORK_WORD - 8 at most, from any bit. */
static inline network_word network_bits(const uint8_t *bits, int bit, int count)
{
    const network_word word = network_bytes(bits, bit - bit % 8, NETWORK_WORD) >> (bit % 8);
    const int most = count < NETWORK_WORD - 8 ? count : NETWORK_WORD - 8;
    return word & (((network_word)1 << most) - 1);
}

static inline int network_bit(const uint8_t *bits, int bit)
{
    return bits[bit / 8] >> (bit % 8) & 1;
}

static inline void network_put(uint8_t *bits, int bit, int value)
{
    uint8_t *const p = bits + bit / 8;
    const int mask = 1 << (bit % 8);
    *p = (uint8_t)(value ? *p | mask : *p & ~mask);
}

static inline void network_copy(uint8_t *to, int to_bit, const uint8_t *from, int from_bit, int count)
{
    if ((to_bit | from_bit | count) % 8 == 0) {
        memcpy(to + to_bit / 8, from + from_bit / 8, (size_t)count / 8);
        return;
    }
    for (int i = 0; i < count; ++i)
        network_put(to, to_bit + i, network_bit(from, from_bit + i));
}

/* CRC-32 of the bits of all rows, of the planes that are used, step by step. */
static inline uint32_t network_hash_of(uint32_t hash, const uint8_t *spikes, int rows, int planes,
    int used, int steps, int bytes, int bits)
{
    hash = ~hash;
    for (int string = 0; string < rows * planes * steps; ++string, spikes += bytes) {
        if (string / steps % planes >= used)
            continue;
        for (int i = 0; i < bytes; ++i) {
            const int rest = bits - 8 * i;
            hash ^= rest < 8 ? spikes[i] & ((1u << rest) - 1) : spikes[i];
            for (int bit = 0; bit < 8; ++bit)
                hash = hash & 1 ? hash >> 1 ^ 0xEDB88320u : hash >> 1;
        }
    }
    return ~hash;
}

/* Bytes 0 or 1 into bits, and back. */
static inline void network_pack(uint8_t *bits, int bit, const uint8_t *fired, int count)
{
    for (int i = 0; i < count; ++i)
        network_put(bits, bit + i, fired[i]);
}

static inline void network_unpack(uint8_t *seen, const uint8_t *bits, int bit, int count)
{
    for (int i = 0; i < count; ++i)
        seen[i] = (uint8_t)network_bit(bits, bit + i);
}

/* The same for whole bytes of bits, with products that move 4 or 8 of them at once. */
static inline void network_pack_bytes(uint8_t *bits, int bit, const uint8_t *fired, int count)
{
    for (int i = 0; i < count; i += 8) {
        const network_word eight = network_eight(fired + i);
#if UINTPTR_MAX > 0xFFFFFFFFu
        bits[(bit + i) / 8] = (uint8_t)(eight * UINT64_C(0x0102040810204080) >> 56);
#else
        const uint32_t low = (uint32_t)eight, high = (uint32_t)(eight >> 32);
        bits[(bit + i) / 8] = (uint8_t)((low * 0x10204080u >> 28)
            | (high * 0x10204080u >> 28 << 4));
#endif
    }
}

static inline void network_unpack_bytes(uint8_t *seen, const uint8_t *bits, int bit, int count)
{
    for (int i = 0; i < count; i += 8) {
        uint64_t eight = bits[(bit + i) / 8] * UINT64_C(0x0101010101010101);
        eight = (eight & UINT64_C(0x8040201008040201)) + UINT64_C(0x7F7F7F7F7F7F7F7F);
        network_put_eight(seen + i, eight >> 7 & UINT64_C(0x0101010101010101));
    }
}

#endif
