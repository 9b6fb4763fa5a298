/* Short vectors for the kernels: one source, compiled once per SIMD level.
 *
 * The vector extension of GCC and Clang leaves the choice of instructions to the compiler: the width below follows from
 * the target flags alone (16 bytes: SSE2, NEON; 32: AVX2; 64: AVX-512). Without the extension (MSVC; clang-cl has it),
 * the same code is compiled with vectors of one lane.
 *
 * At every level, scratch buffers are aligned to 64 bytes and their rows are padded with zeros to a multiple of 64
 * bytes, so that loops over them have no remainder.
 */
#ifndef ALTERNANT_VECTOR_H
#define ALTERNANT_VECTOR_H

#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__GNUC__) || defined(__clang__) /* clang-cl defines only the latter */
#  define ALTERNANT_GNU 1
#endif

#ifdef __AVX2__
#  include <immintrin.h>
#elif defined(ALTERNANT_GNU) && defined(__aarch64__)
#  include <arm_neon.h>
#endif

#define ALTERNANT_ALIGNMENT 64

#if defined(ALTERNANT_GNU) && !defined(ALTERNANT_NO_VECTORS)
#  define ALTERNANT_VECTORS 1
#  if defined(__AVX512F__)
#    define ALTERNANT_VECTOR_BYTES 64
#    define ALTERNANT_TILE_ROWS 16 /* 16 accumulators of 32 registers */
#  elif defined(__AVX__)
#    define ALTERNANT_VECTOR_BYTES 32
#    define ALTERNANT_TILE_ROWS 4  /* 4 x 2 accumulators of 16 registers */
#  elif defined(__aarch64__)
#    define ALTERNANT_VECTOR_BYTES 16
#    define ALTERNANT_TILE_ROWS 4  /* 4 x 4 accumulators of 32 registers */
#  else
#    define ALTERNANT_VECTOR_BYTES 16
#    define ALTERNANT_TILE_ROWS 2  /* 2 x 4 accumulators of 16 registers */
#  endif
#  define ALTERNANT_INLINE static inline __attribute__((always_inline, unused))
#  define ALTERNANT_FUNCTION static __attribute__((noinline, unused))
#  define ALTERNANT_PREFETCH(address) __builtin_prefetch(address)
#  define ALTERNANT_ALIGNED __attribute__((aligned(ALTERNANT_ALIGNMENT)))
#else
#  define ALTERNANT_TILE_ROWS 2
#  define ALTERNANT_INLINE static
#  define ALTERNANT_FUNCTION static
#  define ALTERNANT_PREFETCH(address) ((void)(address))
#  define ALTERNANT_ALIGNED
#endif

#ifndef ALTERNANT_GNU
#  define ALTERNANT_RESTRICT __restrict
#  define ALTERNANT_PRAGMA(...) __pragma(__VA_ARGS__)
#  define ALTERNANT_UNROLL
#  define ALTERNANT_SIMD_SUM(...)
#else
#  define ALTERNANT_RESTRICT restrict
#  define ALTERNANT_PRAGMA(...) _Pragma(#__VA_ARGS__)
#  ifdef __clang__
#    define ALTERNANT_UNROLL _Pragma("clang loop unroll(full)")
#  else
#    define ALTERNANT_UNROLL _Pragma("GCC unroll 16")
#  endif
#  define ALTERNANT_SIMD_SUM(...) ALTERNANT_PRAGMA(omp simd reduction(+ : __VA_ARGS__))
#endif

/* Swap the halves of each group of 2 `by` lanes of a vector of n lanes. If lanes repeat with period 2 `by`, this equals
 * a rotation, which would take slower instructions that cross 16-byte lanes. GCC has the builtin since version 12. */
#ifdef __has_builtin
#  if __has_builtin(__builtin_shufflevector)
#    define ALTERNANT_LANE(l, by, n) ((l) ^ (by))
#    define ALTERNANT_LANES_2(l, by, n) ALTERNANT_LANE(l, by, n), ALTERNANT_LANE(l + 1, by, n)
#    define ALTERNANT_LANES_4(l, by, n) ALTERNANT_LANES_2(l, by, n), ALTERNANT_LANES_2(l + 2, by, n)
#    define ALTERNANT_LANES_8(l, by, n) ALTERNANT_LANES_4(l, by, n), ALTERNANT_LANES_4(l + 4, by, n)
#    define ALTERNANT_LANES_16(l, by, n) ALTERNANT_LANES_8(l, by, n), ALTERNANT_LANES_8(l + 8, by, n)
#    define ALTERNANT_SWAP(n, v, by) __builtin_shufflevector(v, v, ALTERNANT_LANES_##n(0, by, n))
/* The lower (upper) h lanes of each group of 2 h in two vectors a, b of n lanes: in each group, a's lanes, then b's. */
#    define ALTERNANT_PICK(l, h, n, up) ((l) % (2 * (h)) < (h) ? (l) + (up) : (n) + (l) - (h) + (up))
#    define ALTERNANT_PICK_2(l, h, n, up) ALTERNANT_PICK(l, h, n, up), ALTERNANT_PICK(l + 1, h, n, up)
#    define ALTERNANT_PICK_4(l, h, n, up) ALTERNANT_PICK_2(l, h, n, up), ALTERNANT_PICK_2(l + 2, h, n, up)
#    define ALTERNANT_PICK_8(l, h, n, up) ALTERNANT_PICK_4(l, h, n, up), ALTERNANT_PICK_4(l + 4, h, n, up)
#    define ALTERNANT_PICK_16(l, h, n, up) ALTERNANT_PICK_8(l, h, n, up), ALTERNANT_PICK_8(l + 8, h, n, up)
#    define ALTERNANT_LOW(n, h) ALTERNANT_PICK_##n(0, h, n, 0)
#    define ALTERNANT_HIGH(n, h) ALTERNANT_PICK_##n(0, h, n, h)
#  endif
#endif

#define ALTERNANT_JOIN_(a, b) a##_##b
#define ALTERNANT_JOIN(a, b) ALTERNANT_JOIN_(a, b)

/* Scores are fused explicitly, on levels with the instruction only: whether a compiler contracts a * b + c by itself
 * depends on its flags, and a score must have the same bits wherever it is computed. For all other sums, where
 * contraction is a matter of speed, setup.py pins it; for MSVC it is switched off. */
#ifndef ALTERNANT_GNU
#  pragma fp_contract(off)
#endif
#if defined(ALTERNANT_GNU) && (defined(__FMA__) || defined(__AVX512F__) || defined(__aarch64__))
#  define ALTERNANT_FMA 1
#endif

/* The indices of a sparse matrix, int32 or int64. */
typedef struct {
    const void *at;
    int is_int64;
} index_list;

ALTERNANT_INLINE ptrdiff_t index_at(index_list list, ptrdiff_t j)
{
    return list.is_int64 ? (ptrdiff_t)((const int64_t *)list.at)[j] : (ptrdiff_t)((const int32_t *)list.at)[j];
}

ALTERNANT_INLINE index_list indices_from(index_list list, ptrdiff_t j)
{
    list.at = (const char *)list.at + j * (list.is_int64 ? 8 : 4);
    return list;
}

ALTERNANT_INLINE ptrdiff_t smaller(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }
ALTERNANT_INLINE ptrdiff_t larger(ptrdiff_t a, ptrdiff_t b) { return a > b ? a : b; }

/* The length of a row of f elements, in elements, padded to a multiple of 64 bytes. */
ALTERNANT_INLINE ptrdiff_t padded(ptrdiff_t f, ptrdiff_t itemsize)
{
    const ptrdiff_t lanes = ALTERNANT_ALIGNMENT / itemsize;
    return (f + lanes - 1) / lanes * lanes;
}

/* Rows gathered at a time, and the prefetch distance in rows. */
#define CHUNK 64
#define AHEAD 12

#include "use_float32.h"
#include "vector_real.h"
#include "use_none.h"

#include "use_float64.h"
#include "vector_real.h"
#include "use_none.h"

/* The bits of a vector of float32. */
#ifdef ALTERNANT_VECTORS
typedef uint32_t words_t __attribute__((vector_size(ALTERNANT_VECTOR_BYTES), may_alias));
#else
typedef uint32_t words_t;
#endif

/* Copy n rows of float32 into padded rows of float64. */
ALTERNANT_FUNCTION void gather_f32_f64(ptrdiff_t n, ptrdiff_t f, ptrdiff_t fp, const float *Y, index_list indices,
                                       ptrdiff_t left, double *packed)
{
    ptrdiff_t j, k;
    for (j = 0; j < n; j++) {
        const float *y = Y + index_at(indices, j) * f;
        if (j + AHEAD < left) prefetch_row_f32(f, Y + index_at(indices, j + AHEAD) * f);
        for (k = 0; k < f; k++) packed[j * fp + k] = y[k];
    }
}

#endif
