"""The best so far of a query, in a heap of k whose root is the worst kept; and what the query must not get."""

from cython cimport floating
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int32_t, int64_t

ctypedef fused index_t:
    int32_t
    int64_t


cdef inline bint worse(floating a, int32_t a_id, floating b, int32_t b_id) noexcept nogil:
    """Whether (a, a_id) ranks behind (b, b_id): a lower score, or at equal scores a higher id."""
    return a < b or (a == b and a_id > b_id)


cdef inline void sift_down(ptrdiff_t k, floating *score, int32_t *ids, floating value, int32_t i) noexcept nogil:
    """Replace the root (the worst) of a heap by (value, i)."""
    cdef ptrdiff_t parent = 0, child
    while True:
        child = 2 * parent + 1
        if child >= k:
            break
        if child + 1 < k and worse(score[child + 1], ids[child + 1], score[child], ids[child]):
            child += 1
        if not worse(score[child], ids[child], value, i):
            break
        score[parent] = score[child]
        ids[parent] = ids[child]
        parent = child
    score[parent] = value
    ids[parent] = i


cdef inline void sort_heap(ptrdiff_t k, floating *score, int32_t *ids) noexcept nogil:
    """Turn the heap into a list, best first."""
    cdef floating value
    cdef int32_t i
    for k in range(k - 1, 0, -1):
        value, i = score[k], ids[k]
        score[k], ids[k] = score[0], ids[0]
        sift_down(k, score, ids, value, i)


cdef inline bint found(const index_t *indices, int64_t begin, int64_t end, int32_t i) noexcept nogil:
    """Whether a sorted list holds `i`."""
    cdef int64_t stop = end, middle
    while begin < end:
        middle = (begin + end) // 2
        if indices[middle] < i:
            begin = middle + 1
        else:
            end = middle
    return begin < stop and indices[begin] == i


cdef inline bint excludes(const int64_t *indptr, const index_t *excluded, ptrdiff_t u, int32_t i) noexcept nogil:
    return indptr != NULL and found(excluded, indptr[u], indptr[u + 1], i)
