/* Heaps of the k best (value, id), for one real type. No include guard: see use_float32.h.
 *
 * The root is the worst of them. A heap starts with values -inf and ids INT32_MAX, which rank behind any other. */

/* Whether (a, a_id) ranks behind (b, b_id): a lower score, or at equal scores a higher id. */
ALTERNANT_INLINE int NAME(worse)(REAL a, int32_t a_id, REAL b, int32_t b_id)
{
    return (a < b) | ((a == b) & (a_id > b_id));
}

/* Replace the root (the worst) of a heap by (value, i). */
ALTERNANT_INLINE void NAME(sift_down)(ptrdiff_t k, REAL *score, int32_t *ids, REAL value, int32_t i)
{
    ptrdiff_t parent = 0, child;
    for (child = 1; child < k; child = 2 * parent + 1) {
        if (child + 1 < k && NAME(worse)(score[child + 1], ids[child + 1], score[child], ids[child])) child++;
        if (!NAME(worse)(score[child], ids[child], value, i)) break;
        score[parent] = score[child];
        ids[parent] = ids[child];
        parent = child;
    }
    score[parent] = value;
    ids[parent] = i;
}

/* Turn a heap into a list, best first; empty slots get id -1. */
ALTERNANT_INLINE void NAME(sort_heap)(ptrdiff_t k, REAL *score, int32_t *ids)
{
    ptrdiff_t j;
    for (j = k - 1; j > 0; j--) {
        const REAL value = score[j];
        const int32_t i = ids[j];
        score[j] = score[0];
        ids[j] = ids[0];
        NAME(sift_down)(j, score, ids, value, i);
    }
    for (j = 0; j < k; j++)
        if (ids[j] == INT32_MAX) ids[j] = -1;
}

/* The first c >= start with values[c] >= threshold, or width. NaN never matches. */
ALTERNANT_INLINE ptrdiff_t NAME(next_at_least)(ptrdiff_t start, ptrdiff_t width, const REAL *values, REAL threshold)
{
    ptrdiff_t c = start, l;
    for (; c < width && c % LANES; c++)
        if (values[c] >= threshold) return c;
    for (; c + LANES <= width; c += LANES) {
        int any = 0;
        for (l = 0; l < LANES; l++) any |= values[c + l] >= threshold;
        if (any) break;
    }
    for (; c < width; c++)
        if (values[c] >= threshold) return c;
    return width;
}
