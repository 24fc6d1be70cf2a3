/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Small language helpers that every room uses. */
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define ALWAYS_INLINE inline __attribute__((always_inline))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define container_of(p, type, member) ((type *)(void *)((char *)(p)-offsetof(type, member)))
#define MIN_OF(a, b) ((a) < (b) ? (a) : (b))
#define MAX_OF(a, b) ((a) > (b) ? (a) : (b))
#define BIT(n) (1u << (n))
#define BIT64(n) (UINT64_C(1) << (n))

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define NS_PER_SEC INT64_C(1000000000)

static inline uint64_t align_up(uint64_t v, uint64_t to)
{
	return (v + to - 1) & ~(to - 1);
}

static inline uint64_t align_down(uint64_t v, uint64_t to)
{
	return v & ~(to - 1);
}

/* (a * b) / c with a 128-bit intermediate; c must not be 0. */
static inline uint64_t muldiv64(uint64_t a, uint64_t b, uint64_t c)
{
	return (uint64_t)((unsigned __int128)a * b / c);
}

/* The same, rounded up: the first clock edge at or after a counter value. */
static inline uint64_t muldiv64_ceil(uint64_t a, uint64_t b, uint64_t c)
{
	return (uint64_t)(((unsigned __int128)a * b + c - 1) / c);
}

/* Little-endian values of 1 to 8 bytes. */
static inline uint64_t load_le(const void *p, unsigned size)
{
	const uint8_t *b = p;
	uint64_t v = 0;

	for (unsigned i = 0; i < size; i++)
		v |= (uint64_t)b[i] << (8 * i);
	return v;
}

static inline void store_le(void *p, uint64_t v, unsigned size)
{
	uint8_t *b = p;

	for (unsigned i = 0; i < size; i++)
		b[i] = (uint8_t)(v >> (8 * i));
}

/* Big-endian ones. */
static inline uint64_t be64(const void *p)
{
	return __builtin_bswap64(load_le(p, 8));
}

static inline uint32_t be32(const void *p)
{
	return __builtin_bswap32((uint32_t)load_le(p, 4));
}

static inline uint16_t be16(const void *p)
{
	return __builtin_bswap16((uint16_t)load_le(p, 2));
}

static inline void put_be64(void *p, uint64_t v)
{
	store_le(p, __builtin_bswap64(v), 8);
}

static inline void put_be32(void *p, uint32_t v)
{
	store_le(p, __builtin_bswap32(v), 4);
}

static inline void put_be16(void *p, uint16_t v)
{
	store_le(p, __builtin_bswap16(v), 2);
}

static inline uint64_t ones(unsigned size)
{
	return size >= 8 ? UINT64_MAX : (UINT64_C(1) << (8 * size)) - 1;
}
