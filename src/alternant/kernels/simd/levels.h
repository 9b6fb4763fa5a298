/* Kernel tables, one per SIMD level built. A family's C file is compiled once per level, with ALTERNANT_LEVEL set to
 * its name, and defines one table; the Cython module of the family, compiled once, selects the table of the requested
 * level. setup.py defines ALTERNANT_HAS_... for each level that it builds. */
#ifndef ALTERNANT_LEVELS_H
#define ALTERNANT_LEVELS_H

#include <stddef.h>
#include <string.h>

#define ALTERNANT_TABLE_(family, level) alternant_##family##_##level
#define ALTERNANT_TABLE__(family, level) ALTERNANT_TABLE_(family, level)
#define ALTERNANT_TABLE(family) ALTERNANT_TABLE__(family, ALTERNANT_LEVEL)

#ifdef ALTERNANT_HAS_BASELINE
#  define ALTERNANT_DECLARE_BASELINE(family) extern const family##_table alternant_##family##_baseline;
#  define ALTERNANT_TRY_BASELINE(family) if (strcmp(level, "baseline") == 0) return &alternant_##family##_baseline;
#else
#  define ALTERNANT_DECLARE_BASELINE(family)
#  define ALTERNANT_TRY_BASELINE(family)
#endif
#ifdef ALTERNANT_HAS_AVX2
#  define ALTERNANT_DECLARE_AVX2(family) extern const family##_table alternant_##family##_avx2;
#  define ALTERNANT_TRY_AVX2(family) if (strcmp(level, "avx2") == 0) return &alternant_##family##_avx2;
#else
#  define ALTERNANT_DECLARE_AVX2(family)
#  define ALTERNANT_TRY_AVX2(family)
#endif
#ifdef ALTERNANT_HAS_AVX512
#  define ALTERNANT_DECLARE_AVX512(family) extern const family##_table alternant_##family##_avx512;
#  define ALTERNANT_TRY_AVX512(family) if (strcmp(level, "avx512") == 0) return &alternant_##family##_avx512;
#else
#  define ALTERNANT_DECLARE_AVX512(family)
#  define ALTERNANT_TRY_AVX512(family)
#endif

/* Defines family_table_of(level): the table, or NULL if the level was not built. */
#define ALTERNANT_TABLES(family)                                                                                      \
    ALTERNANT_DECLARE_BASELINE(family)                                                                                \
    ALTERNANT_DECLARE_AVX2(family)                                                                                    \
    ALTERNANT_DECLARE_AVX512(family)                                                                                  \
    static inline const family##_table *family##_table_of(const char *level)                                          \
    {                                                                                                                 \
        ALTERNANT_TRY_BASELINE(family)                                                                                \
        ALTERNANT_TRY_AVX2(family)                                                                                    \
        ALTERNANT_TRY_AVX512(family)                                                                                  \
        (void)level;                                                                                                  \
        return NULL;                                                                                                  \
    }

#endif
