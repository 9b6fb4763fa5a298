/* Scratch memory of a kernel's threads. All of it is allocated here, so that tests can make any allocation fail. */
#ifndef ALTERNANT_MEMORY_H
#define ALTERNANT_MEMORY_H

#include <stddef.h>

/* Zeroed memory, aligned to 64 bytes, or NULL; *base is the argument for alternant_scratch_free. */
char *alternant_scratch(size_t bytes, void **base);
void alternant_scratch_free(void *base);

/* For tests: make the n-th allocation from now on fail, in any thread (0: none). Returns what is left of the previous
 * countdown. */
long alternant_fail_allocation(long n);

#endif
