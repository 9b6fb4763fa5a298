"""What this CPU and operating system can run. Compiled for the baseline, so that it loads anywhere."""

cdef extern from *:
    """
    #if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
    #include <cpuid.h>
    /* The compiler's runtime asks the CPU and, for the wide registers, the operating system (XGETBV). */
    static int cpu_level(void)
    {
        unsigned a, b, c, d;
        __builtin_cpu_init();
        if (!(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))) return 0;
        /* F16C, which compilers cannot all ask for. */
        if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & (1u << 29))) return 0;
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")
            && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") ? 2 : 1;
    }
    #elif defined(_M_X64)
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
    #else
    static int cpu_level(void) { return 0; }
    #endif
    """
    int cpu_level()


def simd_levels():
    """The SIMD levels that can run here, best first."""
    return ("avx512", "avx2", "baseline")[2 - cpu_level():]
