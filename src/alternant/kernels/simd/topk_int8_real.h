/* Bounds and rounding of topk_int8.h, for one real type. No include guard: see use_float32.h. */

/* An upper bound on a row's norm, in float64; the constant covers squares that underflow. NaN, infinity propagate. */
ALTERNANT_INLINE double NAME(norm)(ptrdiff_t f, const REAL *row)
{
    double s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    ptrdiff_t k = 0;
    for (; k + 4 <= f; k += 4) {
        s0 += (double)row[k] * row[k];
        s1 += (double)row[k + 1] * row[k + 1];
        s2 += (double)row[k + 2] * row[k + 2];
        s3 += (double)row[k + 3] * row[k + 3];
    }
    for (; k < f; k++) s0 += (double)row[k] * row[k];
    return 1.000001 * sqrt(s0 + s1 + s2 + s3) + 1e-150;
}

/* Whether no sum of products of rows with these norms can overflow; false for NaN. */
ALTERNANT_INLINE int NAME(stays_finite)(double q, double y)
{
    return q * y < REAL_MAX / 2;
}

/* A bound on the rounding error of a score computed in the real type. */
ALTERNANT_INLINE double NAME(slack)(ptrdiff_t f, double q, double y)
{
    return (double)(f + 16) * REAL_EPSILON * q * y + 2. * (double)f * REAL_MIN;
}

/* The smallest step with which a row's integers and the norms of its halves stay in range. */
ALTERNANT_INLINE double NAME(step)(ptrdiff_t f, const REAL *row)
{
    double largest = 0, squares = 0;
    ptrdiff_t start, k;
    for (start = 0; start < f; start += INT8_CHUNK) {
        double half[2] = {0, 0};
        const ptrdiff_t stop = start + INT8_CHUNK < f ? start + INT8_CHUNK : f;
        for (k = start; k < stop; k++) {
            const double size = fabs((double)row[k]);
            half[(k & 2) / 2] += size * size;
            largest = size > largest ? size : largest;
        }
        squares = half[0] > squares ? half[0] : squares;
        squares = half[1] > squares ? half[1] : squares;
    }
    largest /= INT8_RANGE;
    squares = sqrt(squares) / INT8_HALF_NORM;
    largest = largest > squares ? largest : squares;
    return largest > 1e-140 ? largest : 1e-140; /* where squares would underflow, everything is rounding error */
}

/* Round a query to f bytes with an offset of INT8_RANGE; return a bound on the norm of the rounding error. */
ALTERNANT_INLINE double NAME(round_query)(ptrdiff_t f, const REAL *row, double step, uint8_t *bytes)
{
    const double inverse = 1 / step;
    double squares = 0;
    ptrdiff_t k;
    for (k = 0; k < f; k++) {
        const double whole = rint(row[k] * inverse), left = row[k] - step * whole;
        bytes[k] = (uint8_t)((int)whole + INT8_RANGE);
        squares += left * left;
    }
    for (; k % 4; k++) bytes[k] = INT8_RANGE;
    return 1.000001 * sqrt(squares) + 1e-150;
}

/* Compute a query's bytes and bounds. */
ALTERNANT_INLINE void NAME(pack_query)(ptrdiff_t f, const REAL *query, uint8_t *bytes, topk_rounded *rounded)
{
    rounded->step = NAME(step)(f, query);
    rounded->norm = NAME(norm)(f, query);
    rounded->error = NAME(round_query)(f, query, rounded->step, bytes) + 1e-15 * rounded->norm;
}

/* Pack one item; return a bound on the norm of the rounding error. */
ALTERNANT_INLINE double NAME(pack_item)(ptrdiff_t f, const REAL *item, double step, ptrdiff_t c, char *tile)
{
    const double inverse = 1 / step;
    double squares = 0;
    ptrdiff_t start, k;
    for (start = 0; start < f; start += INT8_CHUNK) {
        const ptrdiff_t stop = start + INT8_CHUNK < f ? start + INT8_CHUNK : f;
        char *at = tile + packed_at(f, c, start);
        int half[2] = {0, 0};
        uint16_t correction[2];
        for (k = start; k < stop; k++) {
            const double whole = rint(item[k] * inverse), left = item[k] - step * whole;
            at[(1 + (k - start) / 4) * 2 * INT8_BYTES + (k & 3)] = (char)(int)whole;
            half[(k & 2) / 2] += (int)whole;
            squares += left * left;
        }
        correction[0] = (uint16_t)(-INT8_RANGE * half[0]);
        correction[1] = (uint16_t)(-INT8_RANGE * half[1]);
        memcpy(at, correction, 4);
    }
    return 1.000001 * sqrt(squares) + 1e-150;
}

/* Pack the items `ids` into a tile, with one step. The padding of factors stays zero since allocation. */
ALTERNANT_FUNCTION void NAME(pack_items)(ptrdiff_t width, ptrdiff_t f, const REAL *items, const int32_t *ids,
                                         char *tile, topk_rounded *rounded)
{
    double step = 0, norm = 0, error = 0;
    ptrdiff_t c;
    for (c = 0; c < width; c++) {
        const REAL *item = items + (ptrdiff_t)ids[c] * f;
        const double needed = NAME(step)(f, item), size = NAME(norm)(f, item);
        step = needed > step ? needed : step;
        norm = size > norm ? size : norm;
    }
    for (c = 0; c < width; c++) {
        const double left = NAME(pack_item)(f, items + (ptrdiff_t)ids[c] * f, step, c, tile);
        error = left > error ? left : error;
    }
    rounded->step = step;
    rounded->norm = norm;
    rounded->error = error + 1e-15 * norm;
}
