/* Scratch memory of a kernel's threads. All of it comes from here, so that tests can make any allocation fail. */
#ifndef ALTERNANT_MEMORY_H
#define ALTERNANT_MEMORY_H

#include <stddef.h>

/* Memory aligned to 64 bytes and set to zero, or NULL; *base is what scratch_free takes. */
char *alternant_scratch(size_t bytes, void **base);
void alternant_scratch_free(void *base);

/* For tests: let the n-th allocation from now on fail, in whichever thread (0: none). Returns what was left of the n
 * before. */
long alternant_fail_allocation(long n);

#endif
