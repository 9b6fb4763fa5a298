/* The sparse products of sparse.c, for one real type. No include guard: see use_float32.h. */

/* Scratch of a thread: sums and (if there are few) the columns they are in; a tile of sums, norms and values; the
 * candidates for the k best, `count` of `room`, none of them below `least`, and space to partition them. */
typedef struct {
    REAL *sums, *tile_sums, *tile_norms, *tile_values, *value, *rest;
    int32_t *columns, *id, *rest_id;
    ptrdiff_t count, room;
    REAL least;
} NAME(sparse_scratch);

ALTERNANT_INLINE ptrdiff_t NAME(sum_columns)(ptrdiff_t n) { return (n + TILE - 1) / TILE * TILE; }

/* As many candidates as are selected from at a time: 4 k or more, so that a selection drops most of them. */
ALTERNANT_INLINE ptrdiff_t NAME(candidates)(ptrdiff_t n, ptrdiff_t k)
{
    return smaller(NAME(sum_columns)(n), larger(4 * k, 1024) + TILE) + TILE;
}

ALTERNANT_INLINE size_t NAME(sparse_bytes)(ptrdiff_t n, ptrdiff_t k)
{
    const ptrdiff_t room = NAME(candidates)(n, k);
    return (NAME(sum_columns)(n) + 3 * TILE + 2 * room) * sizeof(REAL)
        + (n / DENSE_SHARE + 1 + 2 * room) * sizeof(int32_t);
}

ALTERNANT_INLINE NAME(sparse_scratch) NAME(sparse_scratch_at)(char *scratch, ptrdiff_t n, ptrdiff_t k)
{
    NAME(sparse_scratch) at;
    at.count = 0;
    at.room = NAME(candidates)(n, k);
    at.least = -(REAL)INFINITY;
    at.sums = (REAL *)scratch;
    at.tile_sums = at.sums + NAME(sum_columns)(n);
    at.tile_norms = at.tile_sums + TILE;
    at.tile_values = at.tile_norms + TILE;
    at.value = at.tile_values + TILE;
    at.rest = at.value + at.room;
    at.id = (int32_t *)(at.rest + at.room);
    at.rest_id = at.id + at.room;
    at.columns = at.rest_id + at.room;
    return at;
}

ALTERNANT_INLINE index_list NAME(left_entries)(const sparse_call *call)
{
    index_list left;
    left.at = call->left;
    left.is_int64 = call->int64_left;
    return left;
}

/* Whether a row of `right` is full and in order, so that its products can be added in vectors. */
ALTERNANT_INLINE int NAME(is_full)(const sparse_call *call, int64_t begin, int64_t end)
{
    const int32_t *const columns = call->right + begin;
    int32_t differs = 0, j;
    if (end - begin != call->n) return 0;
    for (j = 0; j < (int32_t)call->n; j++) differs |= columns[j] ^ j;
    return differs == 0;
}

/* Add the products of a row of `left` to the sums. With `columns`, note the columns of sums that were 0, some of them
 * twice; returns their number. */
ALTERNANT_FUNCTION ptrdiff_t NAME(add_products)(const sparse_call *call, ptrdiff_t r, REAL *ALTERNANT_RESTRICT sums,
                                                int32_t *ALTERNANT_RESTRICT columns)
{
    const index_list left = NAME(left_entries)(call);
    const REAL *const factors = (const REAL *)call->left_values;
    ptrdiff_t noted = 0;
    int64_t e, q;
    for (e = call->left_indptr[r]; e < call->left_indptr[r + 1]; e++) {
        const ptrdiff_t p = index_at(left, (ptrdiff_t)e);
        const REAL factor = factors == NULL ? 1 : factors[e];
        const int64_t begin = call->right_indptr[p], end = call->right_indptr[p + 1];
        const REAL *const values = (const REAL *)call->right_values;
        if (columns != NULL)
            for (q = begin; q < end; q++) {
                const int32_t j = call->right[q];
                columns[noted] = j;
                noted += sums[j] == 0;
                sums[j] += values == NULL ? factor : factor * values[q];
            }
        else if (values != NULL && NAME(is_full)(call, begin, end))
            for (q = 0; q < call->n; q++) sums[q] += factor * values[begin + q];
        else if (values == NULL)
            for (q = begin; q < end; q++) sums[call->right[q]] += factor;
        else
            for (q = begin; q < end; q++) sums[call->right[q]] += factor * values[q];
    }
    return noted;
}

/* The values of a tile of sums; -inf for sums of 0. Whole tiles only, so that all are rounded alike. */
ALTERNANT_FUNCTION void NAME(divide_tile)(const REAL *ALTERNANT_RESTRICT sums, const REAL *ALTERNANT_RESTRICT norms,
                                          REAL norm, REAL shrinkage, REAL *ALTERNANT_RESTRICT values)
{
    ptrdiff_t c;
    for (c = 0; c < TILE; c++) values[c] = sums[c] == 0 ? -(REAL)INFINITY : sums[c] / (norm * norms[c] + shrinkage);
}

/* Move the candidates that do not rank behind candidate `pivot` to the front, and copy the others to `rest`; returns the
 * number of the former. Without branches, of which half would be mispredicted, and without loads of what has just been
 * stored. */
ALTERNANT_INLINE ptrdiff_t NAME(partition)(ptrdiff_t count, ptrdiff_t pivot, REAL *value, int32_t *id, REAL *rest,
                                           int32_t *rest_id)
{
    const REAL by = value[pivot];
    const int32_t by_id = id[pivot];
    ptrdiff_t front = 0, c;
    for (c = 0; c < count; c++) {
        const REAL v = value[c];
        const int32_t i = id[c];
        value[front] = rest[c - front] = v;
        id[front] = rest_id[c - front] = i;
        front += (v > by) | ((v == by) & (i <= by_id));
    }
    return front;
}

/* The position of the middle one of three candidates. */
ALTERNANT_INLINE ptrdiff_t NAME(middle)(const REAL *value, const int32_t *id, ptrdiff_t a, ptrdiff_t b, ptrdiff_t c)
{
    const int ab = NAME(worse)(value[a], id[a], value[b], id[b]);
    const int bc = NAME(worse)(value[b], id[b], value[c], id[c]);
    const int ac = NAME(worse)(value[a], id[a], value[c], id[c]);
    return ab == bc ? b : ab != ac ? a : c;
}

/* Drop all candidates but the k best, which are in no order. */
ALTERNANT_FUNCTION void NAME(select_best)(ptrdiff_t k, NAME(sparse_scratch) *at)
{
    REAL *value = at->value;
    int32_t *id = at->id;
    ptrdiff_t left = at->count, wanted = k, c;
    while (left > wanted && wanted > 0) {
        const ptrdiff_t pivot = left > 2 ? NAME(middle)(value, id, 0, left / 2, left - 1)
            : NAME(worse)(value[0], id[0], value[1], id[1]);
        const ptrdiff_t front = NAME(partition)(left, pivot, value, id, at->rest, at->rest_id);
        if (front >= wanted) left = front; /* less than before: the middle one of three is not the last */
        else {
            value += front;
            id += front;
            left -= front;
            wanted -= front;
            memcpy(value, at->rest, left * sizeof(REAL));
            memcpy(id, at->rest_id, left * sizeof(int32_t));
        }
    }
    at->count = k;
    at->least = at->value[0];
    for (c = 1; c < k; c++)
        if (at->value[c] < at->least) at->least = at->value[c];
}

/* Make candidates of a tile of sums; columns are numbered from `first` on unless they are listed. */
ALTERNANT_INLINE void NAME(rank_tile)(const sparse_call *call, ptrdiff_t r, NAME(sparse_scratch) *at, const REAL *sums,
                                      const REAL *norms, ptrdiff_t width, ptrdiff_t first, const int32_t *columns)
{
    const REAL norm = call->row_norms == NULL ? 1 : ((const REAL *)call->row_norms)[r];
    const REAL *const value = at->tile_values;
    ptrdiff_t c, count;
    NAME(divide_tile)(sums, norms, norm, (REAL)call->shrinkage, at->tile_values);
    if (at->count + TILE > at->room) NAME(select_best)(call->k, at);
    count = at->count;
    if (columns != NULL)
        for (c = 0; c < width; c++) {
            at->value[count] = value[c];
            at->id[count] = columns[c];
            count += (sums[c] != 0) & (value[c] >= at->least);
        }
    else
        for (c = NAME(next_at_least)(0, width, value, at->least); c < width;
             c = NAME(next_at_least)(c + 1, width, value, at->least)) {
            at->value[count] = value[c];
            at->id[count] = (int32_t)(first + c);
            count += sums[c] != 0;
        }
    at->count = count;
}

/* Rank the sums of the noted columns, and set them to 0. */
ALTERNANT_FUNCTION void NAME(rank_noted)(const sparse_call *call, ptrdiff_t r, NAME(sparse_scratch) *at,
                                         ptrdiff_t noted)
{
    const REAL *const norms = (const REAL *)call->column_norms;
    ptrdiff_t start, c;
    for (start = 0; start < noted; start += TILE) {
        const ptrdiff_t width = smaller(TILE, noted - start);
        for (c = 0; c < width; c++) {
            const int32_t j = at->columns[start + c];
            at->tile_sums[c] = at->sums[j];
            at->sums[j] = 0;
            if (norms != NULL) at->tile_norms[c] = norms[j];
        }
        NAME(rank_tile)(call, r, at, at->tile_sums, at->tile_norms, width, 0, at->columns + start);
    }
}

/* Rank the sums of all columns, and set them to 0. */
ALTERNANT_FUNCTION void NAME(rank_all)(const sparse_call *call, ptrdiff_t r, NAME(sparse_scratch) *at)
{
    const REAL *const norms = (const REAL *)call->column_norms;
    ptrdiff_t first;
    for (first = 0; first < call->n; first += TILE) {
        const ptrdiff_t width = smaller(TILE, call->n - first);
        const REAL *tile_norms = at->tile_norms;
        if (norms != NULL && width == TILE) tile_norms = norms + first;
        else if (norms != NULL) memcpy(at->tile_norms, norms + first, width * sizeof(REAL));
        NAME(rank_tile)(call, r, at, at->sums + first, tile_norms, width, first, NULL);
    }
    memset(at->sums, 0, call->n * sizeof(REAL));
}

/* Sort the candidates by merging, without branches: in one pass, pairs of runs of `length`. */
ALTERNANT_FUNCTION void NAME(sort_candidates)(NAME(sparse_scratch) *at)
{
    ptrdiff_t length, start, out;
    for (length = 1; length < at->count; length *= 2) {
        for (start = 0; start < at->count; start = out) {
            const ptrdiff_t middle = smaller(start + length, at->count), end = smaller(middle + length, at->count);
            ptrdiff_t a = start, b = middle;
            for (out = start; a < middle && b < end; out++) {
                const int second = NAME(worse)(at->value[a], at->id[a], at->value[b], at->id[b]);
                const ptrdiff_t from = second ? b : a;
                at->rest[out] = at->value[from];
                at->rest_id[out] = at->id[from];
                b += second;
                a += 1 - second;
            }
            if (a == middle) a = b;
            memcpy(at->rest + out, at->value + a, (end - out) * sizeof(REAL));
            memcpy(at->rest_id + out, at->id + a, (end - out) * sizeof(int32_t));
            out = end;
        }
        memcpy(at->value, at->rest, at->count * sizeof(REAL));
        memcpy(at->id, at->rest_id, at->count * sizeof(int32_t));
    }
}

/* Fill row r of the outputs with the best candidates, in order. */
ALTERNANT_FUNCTION void NAME(write_list)(const sparse_call *call, ptrdiff_t r, NAME(sparse_scratch) *at)
{
    const ptrdiff_t k = call->k;
    REAL *const values = (REAL *)call->values + r * k;
    int32_t *const ids = call->ids + r * k;
    ptrdiff_t c;
    if (at->count > k) NAME(select_best)(k, at);
    NAME(sort_candidates)(at);
    memcpy(values, at->value, at->count * sizeof(REAL));
    memcpy(ids, at->id, at->count * sizeof(int32_t));
    for (c = at->count; c < k; c++) {
        values[c] = -(REAL)INFINITY;
        ids[c] = -1;
    }
    at->count = 0;
    at->least = -(REAL)INFINITY;
}

ALTERNANT_FUNCTION void NAME(rank_row)(const sparse_call *call, ptrdiff_t r, NAME(sparse_scratch) *at)
{
    const index_list left = NAME(left_entries)(call);
    int64_t products = 0, e;
    ptrdiff_t noted;
    int few;
    for (e = call->left_indptr[r]; e < call->left_indptr[r + 1]; e++) {
        const ptrdiff_t p = index_at(left, (ptrdiff_t)e);
        products += call->right_indptr[p + 1] - call->right_indptr[p];
    }
    few = products < call->n / DENSE_SHARE;
    noted = NAME(add_products)(call, r, at->sums, few ? at->columns : NULL);
    if (call->exclude_indptr != NULL) {
        index_list excluded;
        excluded.at = call->exclude;
        excluded.is_int64 = call->int64_exclude;
        for (e = call->exclude_indptr[r]; e < call->exclude_indptr[r + 1]; e++)
            at->sums[index_at(excluded, (ptrdiff_t)e)] = 0;
    }
    if (few) NAME(rank_noted)(call, r, at, noted);
    else NAME(rank_all)(call, r, at);
    NAME(write_list)(call, r, at);
}

static int NAME(top_k_sparse)(const sparse_call *call)
{
    int no_memory = 0;
#ifdef _OPENMP
#  pragma omp parallel num_threads(call->threads) reduction(| : no_memory)
#endif
    {
        void *base;
        char *const scratch = alternant_scratch(NAME(sparse_bytes)(call->n, call->k), &base);
        NAME(sparse_scratch) at = NAME(sparse_scratch_at)(scratch, call->n, call->k);
        ptrdiff_t r, c;
        no_memory |= scratch == NULL;
        for (c = 0; c < TILE && scratch != NULL; c++) at.tile_norms[c] = 1;
#ifdef _OPENMP
#  pragma omp for schedule(dynamic, 4)
#endif
        for (r = 0; r < call->m; r++)
            if (scratch != NULL) NAME(rank_row)(call, r, &at);
        alternant_scratch_free(base);
    }
    return no_memory;
}

static int NAME(multiply_sparse)(const sparse_call *call)
{
    ptrdiff_t r;
#ifdef _OPENMP
#  pragma omp parallel for schedule(dynamic, 4) num_threads(call->threads)
#endif
    for (r = 0; r < call->m; r++) {
        REAL *const sums = (REAL *)call->values + r * call->n;
        memset(sums, 0, call->n * sizeof(REAL));
        NAME(add_products)(call, r, sums, NULL);
    }
    return 0;
}

/* A row of the product with a dense matrix. One column is added in a register: its sums are in the same order. */
ALTERNANT_INLINE void NAME(add_dense_rows)(const sparse_call *call, ptrdiff_t r, const REAL *ALTERNANT_RESTRICT dense,
                                           REAL *ALTERNANT_RESTRICT sums)
{
    const index_list left = NAME(left_entries)(call);
    const REAL *const factors = (const REAL *)call->left_values;
    const ptrdiff_t n = call->n;
    int64_t e = call->left_indptr[r];
    const int64_t end = call->left_indptr[r + 1];
    ptrdiff_t j;
    if (n == 1) {
        REAL sum = 0;
        if (factors == NULL)
            for (; e < end; e++) sum += dense[index_at(left, (ptrdiff_t)e)];
        else
            for (; e < end; e++) sum += factors[e] * dense[index_at(left, (ptrdiff_t)e)];
        sums[0] = sum;
        return;
    }
    memset(sums, 0, n * sizeof(REAL));
    for (; e < end; e++) {
        const REAL *const row = dense + index_at(left, (ptrdiff_t)e) * n;
        const REAL factor = factors == NULL ? 1 : factors[e]; /* 1 changes no bit */
        for (j = 0; j < n; j++) sums[j] += factor * row[j];
    }
}

static void NAME(multiply_sparse_dense)(const sparse_call *call, const void *dense)
{
    const ptrdiff_t blocks = (call->m + SUMMED_ROWS - 1) / SUMMED_ROWS;
    ptrdiff_t block;
#ifdef _OPENMP
#  pragma omp parallel for schedule(dynamic, 1) num_threads(call->threads)
#endif
    for (block = 0; block < blocks; block++) {
        const ptrdiff_t last = smaller((block + 1) * SUMMED_ROWS, call->m);
        ptrdiff_t r;
        for (r = block * SUMMED_ROWS; r < last; r++)
            NAME(add_dense_rows)(call, r, (const REAL *)dense, (REAL *)call->values + r * call->n);
    }
}
