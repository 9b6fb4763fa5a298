"""The SIMD levels that can run here, and those built. Compiled for the baseline level, so it loads anywhere."""

cdef extern from *:
    """
    #if defined(_MSC_VER) && defined(_M_X64) /* clang-cl, too: Microsoft's runtime lacks __builtin_cpu_supports */
    #include <intrin.h>
    static int cpu_level(void)
    {
        int r[4];
        unsigned long long state;
        __cpuid(r, 0);
        if (r[0] < 7) return 0;
        __cpuidex(r, 1, 0);
        if (!(r[2] & (1 << 12)) || !(r[2] & (1 << 27)) || !(r[2] & (1 << 29))) return 0; /* FMA, OSXSAVE, F16C */
        state = _xgetbv(0);
        __cpuidex(r, 7, 0);
        if ((state & 0x6) != 0x6 || !(r[1] & (1 << 5))) return 0; /* YMM state, AVX2 */
        /* ZMM state; AVX-512 F, DQ, BW, VL */
        return (state & 0xe6) == 0xe6 && (r[1] & (1 << 16)) && (r[1] & (1 << 17)) && (r[1] & (1 << 30))
            && ((unsigned)r[1] >> 31) ? 2 : 1;
    }
    #elif defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
    #include <cpuid.h>
    /* The compiler's runtime queries the CPU and, for wide registers, the operating system (XGETBV). */
    static int cpu_level(void)
    {
        unsigned a, b, c, d;
        __builtin_cpu_init();
        if (!(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))) return 0;
        /* F16C, which not all compilers' __builtin_cpu_supports can query. */
        if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & (1u << 29))) return 0;
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")
            && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") ? 2 : 1;
    }
    #else
    static int cpu_level(void) { return 0; }
    #endif

    #ifdef ALTERNANT_HAS_BASELINE
    #define BUILT_BASELINE 1
    #else
    #define BUILT_BASELINE 0
    #endif
    #ifdef ALTERNANT_HAS_AVX2
    #define BUILT_AVX2 1
    #else
    #define BUILT_AVX2 0
    #endif
    #ifdef ALTERNANT_HAS_AVX512
    #define BUILT_AVX512 1
    #else
    #define BUILT_AVX512 0
    #endif

    #ifdef _OPENMP
    #define OPENMP_VERSION _OPENMP
    #else
    #define OPENMP_VERSION 0
    #endif
    #if defined(__clang__)
    #define COMPILER "clang " __clang_version__
    #elif defined(__GNUC__)
    #define COMPILER "gcc " __VERSION__
    #elif defined(_MSC_VER)
    #define COMPILER "msvc"
    #else
    #define COMPILER "unknown"
    #endif
    """
    int cpu_level()
    const bint BUILT_BASELINE, BUILT_AVX2, BUILT_AVX512
    const int OPENMP_VERSION
    const char *COMPILER


def simd_levels():
    """The SIMD levels that can run here, best first."""
    return ("avx512", "avx2", "baseline")[2 - cpu_level():]


def built_levels():
    """The SIMD levels that were built, best first."""
    built = (("avx512", BUILT_AVX512), ("avx2", BUILT_AVX2), ("baseline", BUILT_BASELINE))
    return tuple(level for level, there in built if there)


def build_info():
    """How the kernels were compiled."""
    return {"openmp": OPENMP_VERSION or None, "compiler": COMPILER.decode()}
