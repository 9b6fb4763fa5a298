#include "memory.h"

#include <stdint.h>
#include <stdlib.h>

#define ALIGNMENT 64

static volatile long countdown = 0; /* allocations until one fails; 0: none fails */

static int fails(void)
{
    long left = 0;
    if (countdown == 0) return 0;
#ifdef _OPENMP
#  pragma omp critical(alternant_allocation)
#endif
    {
        left = countdown;
        if (left > 0) countdown = left - 1;
    }
    return left == 1;
}

char *alternant_scratch(size_t bytes, void **base)
{
    *base = fails() ? NULL : calloc(1, bytes + ALIGNMENT);
    if (*base == NULL) return NULL;
    return (char *)(((uintptr_t)*base + ALIGNMENT - 1) & ~(uintptr_t)(ALIGNMENT - 1));
}

void alternant_scratch_free(void *base)
{
    free(base);
}

long alternant_fail_allocation(long n)
{
    const long left = countdown;
    countdown = n;
    return left;
}
