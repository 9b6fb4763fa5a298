/* SplitMix64: see ../../_utils/splitmix.py. */
#ifndef ALTERNANT_SPLITMIX_H
#define ALTERNANT_SPLITMIX_H

#include <stdint.h>

#define SPLITMIX_GOLDEN 0x9E3779B97F4A7C15u

static inline uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

#endif
