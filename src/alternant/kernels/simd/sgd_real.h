/* Blocks of stochastic gradient descent, for one real type. No include guard: see use_float32.h. */

#include "steps_real.h"

#ifdef SGD_REGISTERS
/* The sum of a vector's lanes, in every lane; added in the order of lane_sum. */
ALTERNANT_INLINE VECTOR NAME(lane_sums)(VECTOR v)
{
#  if ALTERNANT_VECTOR_BYTES == 16 * REAL_BYTES
    v += ALTERNANT_SWAP(16, v, 8);
    v += ALTERNANT_SWAP(16, v, 4);
    v += ALTERNANT_SWAP(16, v, 2);
    v += ALTERNANT_SWAP(16, v, 1);
#  elif ALTERNANT_VECTOR_BYTES == 8 * REAL_BYTES
    v += ALTERNANT_SWAP(8, v, 4);
    v += ALTERNANT_SWAP(8, v, 2);
    v += ALTERNANT_SWAP(8, v, 1);
#  elif ALTERNANT_VECTOR_BYTES == 4 * REAL_BYTES
    v += ALTERNANT_SWAP(4, v, 2);
    v += ALTERNANT_SWAP(4, v, 1);
#  else
    v += ALTERNANT_SWAP(2, v, 1);
#  endif
    return v;
}
#endif

/* x += step y - dx x and, with `both`, y += step x - dy y, both from the old values. Adding the small difference
 * preserves digits of the decay that 1 - dx would round away. */
ALTERNANT_INLINE void NAME(move)(const ptrdiff_t f, REAL *ALTERNANT_RESTRICT x, REAL *ALTERNANT_RESTRICT y, REAL step,
                                 REAL dx, REAL dy, int both)
{
    ptrdiff_t k = 0;
    if (both) {
        for (; k + VL <= f; k += VL) {
            const VECTOR xk = GET(x + k), yk = GET(y + k);
            PUT(x + k) = xk + (step * yk - dx * xk);
            PUT(y + k) = yk + (step * xk - dy * yk);
        }
        for (; k < f; k++) {
            const REAL xk = x[k], yk = y[k];
            x[k] = xk + (step * yk - dx * xk);
            y[k] = yk + (step * xk - dy * yk);
        }
    } else {
        for (; k + VL <= f; k += VL) PUT(x + k) = GET(x + k) + (step * GET(y + k) - dx * GET(x + k));
        for (; k < f; k++) x[k] += step * y[k] - dx * x[k];
    }
}

/* --- biased ------------------------------------------------------------------------------------------------------ */

/* The target minus the prediction, and the slope of the sigmoid (1 without a sigmoid). `base` is the score without the
 * dot product, `rest` the target minus `base`. */
ALTERNANT_INLINE REAL NAME(biased_error)(const int bounded, REAL target, REAL base, REAL rest, REAL dot, REAL *slope,
                                         const sgd_step *step)
{
    *slope = 1;
    if (bounded) {
        const REAL z = base + dot, e = EXP(-FABS(z)), s = (z >= 0 ? 1 : e) / (1 + e);
        *slope = (REAL)step->height * e / ((1 + e) * (1 + e));
        return target - ((REAL)step->low + (REAL)step->height * s);
    }
    return rest - dot;
}

/* Rows of any length, updated in memory. */
ALTERNANT_FUNCTION double NAME(biased_any)(ptrdiff_t f, ptrdiff_t n, const int32_t *rows, const int32_t *columns,
                                           const REAL *target, REAL *X, REAL *Y, REAL *row_bias, REAL *column_bias,
                                           const sgd_step *step)
{
    const REAL rate = (REAL)step->rate, offset = (REAL)step->offset;
    const REAL dx = (REAL)(step->rate * step->shrink_x), dy = (REAL)(step->rate * step->shrink_y);
    const REAL db = (REAL)(step->rate * step->shrink_b), dc = (REAL)(step->rate * step->shrink_c);
    double loss = 0;
    ptrdiff_t j;
    for (j = 0; j < n; j++) {
        const ptrdiff_t u = rows[j], i = columns[j];
        REAL *x = X + u * f, *y = Y + i * f, slope;
        if (j + SGD_AHEAD < n) NAME(fetch)(f, Y + columns[j + SGD_AHEAD] * f);
        const REAL b = row_bias[u], c = column_bias[i], rest = target[j] - offset - c - b;
        const REAL dot = NAME(row_dot)(f, x, y);
        const REAL error = NAME(biased_error)(step->height < INFINITY, target[j], offset + b + c, rest,
                                              dot, &slope, step);
        const REAL g = rate * error * slope;
        loss += (double)error * error;
        NAME(move)(f, x, y, g, dx, dy, step->columns);
        row_bias[u] = b + (g - db * b);
        if (step->columns) column_bias[i] = c + (g - dc * c);
    }
    return loss;
}

#ifdef SGD_REGISTERS
/* The same for rows of `vectors` whole vectors. Consecutive entries of a row each depend on the one before, so the row
 * stays in registers and the dependency chain is kept short (the sum in all lanes, one product, one sum): twice as
 * fast as the above at f = 64. `vectors`, `bounded` and `both` are constants: with a call of exp in the loop, or a
 * branch between the updates of x and y, the row would not stay in registers. */
ALTERNANT_INLINE double NAME(biased_run)(const int vectors, const int bounded, const int both, ptrdiff_t n,
                                         const int32_t *rows, const int32_t *columns, const REAL *target, REAL *X,
                                         REAL *Y, REAL *row_bias, REAL *column_bias, const sgd_step *step)
{
    const ptrdiff_t f = vectors * VL;
    const REAL rate = (REAL)step->rate, offset = (REAL)step->offset;
    const REAL dx = (REAL)(step->rate * step->shrink_x), dy = (REAL)(step->rate * step->shrink_y);
    const REAL db = (REAL)(step->rate * step->shrink_b), dc = (REAL)(step->rate * step->shrink_c);
    double loss = 0;
    ptrdiff_t j = 0;
    while (j < n) {
        const ptrdiff_t u = rows[j];
        VECTOR x[SGD_MOST_VECTORS];
        REAL b = row_bias[u];
        int k;
        ALTERNANT_UNROLL
        for (k = 0; k < vectors; k++) x[k] = GET(X + u * f + k * VL);
        for (; j < n && rows[j] == u; j++) {
            const ptrdiff_t i = columns[j];
            const REAL c = column_bias[i], left = target[j] - offset - c;
            REAL *y = Y + i * f, slope;
            VECTOR s[4] = {{0}};
            if (j + SGD_AHEAD < n) NAME(fetch)(f, Y + columns[j + SGD_AHEAD] * f);
            ALTERNANT_UNROLL
            for (k = 0; k < vectors; k++) s[k % 4] += x[k] * GET(y + k * VL);
            const VECTOR sum = NAME(lane_sums)((s[0] + s[1]) + (s[2] + s[3]));
            const REAL error = NAME(biased_error)(bounded, target[j], offset + b + c, left - b, sum[0],
                                                  &slope, step);
            const VECTOR g = bounded ? (VECTOR){0} + rate * error * slope : rate * ((left - b) - sum);
            loss += (double)error * error;
            if (both) {
                ALTERNANT_UNROLL
                for (k = 0; k < vectors; k++) {
                    const VECTOR xk = x[k], yk = GET(y + k * VL);
                    x[k] = xk + (g * yk - dx * xk);
                    PUT(y + k * VL) = yk + (g * xk - dy * yk);
                }
                column_bias[i] = c + (g[0] - dc * c);
            } else {
                ALTERNANT_UNROLL
                for (k = 0; k < vectors; k++) x[k] = x[k] + (g * GET(y + k * VL) - dx * x[k]);
            }
            b = b + (g[0] - db * b);
        }
        ALTERNANT_UNROLL
        for (k = 0; k < vectors; k++) PUT(X + u * f + k * VL) = x[k];
        row_bias[u] = b;
    }
    return loss;
}
#endif

ALTERNANT_FUNCTION double NAME(biased_block)(ptrdiff_t f, ptrdiff_t n, const int32_t *rows, const int32_t *columns,
                                             const REAL *target, REAL *X, REAL *Y, REAL *row_bias, REAL *column_bias,
                                             const sgd_step *step)
{
#ifdef SGD_REGISTERS
#define RUN(vectors, bounded, both)                                                                                   \
    NAME(biased_run)(vectors, bounded, both, n, rows, columns, target, X, Y, row_bias, column_bias, step)
#define BODY(vectors)                                                                                                 \
    if (f == (vectors) * VL && step->columns)                                                                         \
        return step->height < INFINITY ? RUN(vectors, 1, 1) : RUN(vectors, 0, 1);                                     \
    if (f == (vectors) * VL) return step->height < INFINITY ? RUN(vectors, 1, 0) : RUN(vectors, 0, 0)
    BODY(2);
    BODY(4);
    BODY(8);
    BODY(16);
#undef BODY
#undef RUN
#endif
    return NAME(biased_any)(f, n, rows, columns, target, X, Y, row_bias, column_bias, step);
}

/* --- cosine ------------------------------------------------------------------------------------------------------ */

/* x . x, y . y and x . y in one pass. */
ALTERNANT_INLINE void NAME(three_dots)(const ptrdiff_t f, const REAL *ALTERNANT_RESTRICT x,
                                       const REAL *ALTERNANT_RESTRICT y, double *xx, double *yy, double *xy)
{
    VECTOR a = {0}, b = {0}, c = {0};
    REAL sa, sb, sc;
    ptrdiff_t k = 0;
    for (; k + VL <= f; k += VL) {
        const VECTOR xk = GET(x + k), yk = GET(y + k);
        a += xk * xk;
        b += yk * yk;
        c += xk * yk;
    }
    sa = NAME(lane_sum)(a), sb = NAME(lane_sum)(b), sc = NAME(lane_sum)(c);
    for (; k < f; k++) {
        sa += x[k] * x[k];
        sb += y[k] * y[k];
        sc += x[k] * y[k];
    }
    *xx = sa, *yy = sb, *xy = sc;
}

/* The same, and the step, in float64, for vectors whose squares leave the range of REAL. */
ALTERNANT_FUNCTION double NAME(cosine_wide)(ptrdiff_t f, REAL *x, REAL *y, double t, const sgd_step *step)
{
    double xx = 0, yy = 0, xy = 0, norms, cosine, g;
    ptrdiff_t k;
    for (k = 0; k < f; k++) {
        xx += (double)x[k] * x[k];
        yy += (double)y[k] * y[k];
        xy += (double)x[k] * y[k];
    }
    if (xx == 0 || yy == 0) return t * t;
    norms = sqrt(xx) * sqrt(yy);
    cosine = xy / norms;
    g = 2 * step->rate * (cosine - t);
    for (k = 0; k < f; k++) {
        const double xk = x[k], yk = y[k];
        x[k] = (REAL)(xk - g * (yk / norms - cosine / xx * xk));
        if (step->columns) y[k] = (REAL)(yk - g * (xk / norms - cosine / yy * yk));
    }
    return (cosine - t) * (cosine - t);
}

ALTERNANT_INLINE double NAME(cosine_body)(const ptrdiff_t f, ptrdiff_t n, const int32_t *rows, const int32_t *columns,
                                          const REAL *target, REAL *X, REAL *Y, const sgd_step *step)
{
    double loss = 0;
    ptrdiff_t j;
    for (j = 0; j < n; j++) {
        REAL *x = X + rows[j] * (ptrdiff_t)f, *y = Y + columns[j] * (ptrdiff_t)f;
        double xx, yy, xy, inverse, cosine, error, g;
        if (j + SGD_AHEAD < n) {
            NAME(fetch)(f, X + rows[j + SGD_AHEAD] * (ptrdiff_t)f);
            NAME(fetch)(f, Y + columns[j + SGD_AHEAD] * (ptrdiff_t)f);
        }
        NAME(three_dots)(f, x, y, &xx, &yy, &xy);
        if (!(xx > SGD_SHORTEST && xx < SGD_LONGEST && yy > SGD_SHORTEST && yy < SGD_LONGEST)) {
            loss += NAME(cosine_wide)(f, x, y, target[j], step);
            continue;
        }
        inverse = 1 / sqrt(xx * yy);
        cosine = xy * inverse;
        error = cosine - target[j];
        loss += error * error;
        g = -2 * step->rate * error;
        NAME(move)(f, x, y, (REAL)(g * inverse), (REAL)(g * cosine / xx), (REAL)(g * cosine / yy), step->columns);
    }
    return loss;
}

ALTERNANT_FUNCTION double NAME(cosine_block)(ptrdiff_t f, ptrdiff_t n, const int32_t *rows, const int32_t *columns,
                                             const REAL *target, REAL *X, REAL *Y, const sgd_step *step)
{
#define BODY(length) return NAME(cosine_body)(length, n, rows, columns, target, X, Y, step)
    WITH_CONSTANT_LENGTH(f, BODY);
#undef BODY
}

/* --- logistic ---------------------------------------------------------------------------------------------------- */

/* Adagrad steps, with gradients g y + lambda x of x and g x + lambda y of y; plain loops, which compilers vectorize. */
ALTERNANT_INLINE void NAME(move_adagrad)(const ptrdiff_t f, REAL *ALTERNANT_RESTRICT x, REAL *ALTERNANT_RESTRICT y,
                                         REAL *ALTERNANT_RESTRICT xx, REAL *ALTERNANT_RESTRICT yy, REAL g,
                                         const sgd_step *step)
{
    const REAL rate = (REAL)step->rate, lambda_x = (REAL)step->shrink_x, lambda_y = (REAL)step->shrink_y;
    ptrdiff_t k;
    if (step->columns) {
        for (k = 0; k < f; k++) {
            const REAL xk = x[k], yk = y[k];
            const REAL gx = g * yk + lambda_x * xk, gy = g * xk + lambda_y * yk;
            xx[k] += gx * gx;
            yy[k] += gy * gy;
            x[k] = xk - rate * gx / SQRT(xx[k]);
            y[k] = yk - rate * gy / SQRT(yy[k]);
        }
    } else {
        for (k = 0; k < f; k++) {
            const REAL gx = g * y[k] + lambda_x * x[k];
            xx[k] += gx * gx;
            x[k] -= rate * gx / SQRT(xx[k]);
        }
    }
}

/* One step; returns its loss w (log(1 + exp(z)) - t z). */
ALTERNANT_INLINE double NAME(logistic_step)(const ptrdiff_t f, ptrdiff_t u, ptrdiff_t i, double w, double t,
                                            const sgd_sides *s, const sgd_step *step)
{
    REAL *x = (REAL *)s->X + u * f, *y = (REAL *)s->Y + i * f;
    REAL *b = (REAL *)s->row_bias + u, *c = (REAL *)s->column_bias + i;
    const double z = (double)*b + *c + NAME(row_dot)(f, x, y), e = exp(-fabs(z));
    const double g = w * ((z >= 0 ? 1 / (1 + e) : e / (1 + e)) - t);
    if (s->XX == NULL) {
        NAME(move)(f, x, y, (REAL)(-step->rate * g), (REAL)(step->rate * step->shrink_x),
                   (REAL)(step->rate * step->shrink_y), step->columns);
        *b -= (REAL)(step->rate * (g + step->shrink_b * *b));
        if (step->columns) *c -= (REAL)(step->rate * (g + step->shrink_c * *c));
    } else {
        NAME(move_adagrad)(f, x, y, (REAL *)s->XX + u * f, (REAL *)s->YY + i * f, (REAL)g, step);
        NAME(adagrad)(b, (REAL *)s->row_bias_squares + u, step->rate, g + step->shrink_b * *b);
        if (step->columns) NAME(adagrad)(c, (REAL *)s->column_bias_squares + i, step->rate, g + step->shrink_c * *c);
    }
    return w * ((z > 0 ? z : 0) + log1p(e) - t * z);
}

ALTERNANT_INLINE double NAME(logistic_entries_body)(const ptrdiff_t f, ptrdiff_t n, const int32_t *rows,
                                                    const int32_t *columns, const REAL *weight, const REAL *target,
                                                    const sgd_sides *s, const sgd_step *step)
{
    double loss = 0;
    ptrdiff_t j;
    for (j = 0; j < n; j++) {
        if (j + SGD_AHEAD < n) NAME(fetch)(f, (REAL *)s->Y + columns[j + SGD_AHEAD] * (ptrdiff_t)f);
        loss += NAME(logistic_step)(f, rows[j], columns[j], weight[j], target[j], s, step);
    }
    return loss;
}

ALTERNANT_FUNCTION double NAME(logistic_entries)(ptrdiff_t f, ptrdiff_t n, const int32_t *rows, const int32_t *columns,
                                                 const REAL *weight, const REAL *target, const sgd_sides *s,
                                                 const sgd_step *step)
{
#define BODY(length) return NAME(logistic_entries_body)(length, n, rows, columns, weight, target, s, step)
    WITH_CONSTANT_LENGTH(f, BODY);
#undef BODY
}

/* Steps for the negatives of row u among the columns first to first + width: all of them if `key` is NULL, else `count`
 * of them, drawn by the hash. */
ALTERNANT_INLINE double NAME(logistic_negatives_body)(const ptrdiff_t f, ptrdiff_t u, ptrdiff_t first, ptrdiff_t width,
                                                      const uint64_t *key, ptrdiff_t count, const sgd_sides *s,
                                                      const sgd_step *step)
{
    double loss = 0;
    ptrdiff_t k;
    for (k = 0; k < (key == NULL ? width : count); k++) {
        ptrdiff_t i = k;
        if (key != NULL) i = (ptrdiff_t)((mix(*key + SPLITMIX_GOLDEN * (uint64_t)(k + 1)) >> 32) * (uint64_t)width >> 32);
        loss += NAME(logistic_step)(f, u, first + i, 1, 0, s, step);
    }
    return loss;
}

ALTERNANT_FUNCTION double NAME(logistic_negatives)(ptrdiff_t f, ptrdiff_t u, ptrdiff_t first, ptrdiff_t width,
                                                   const uint64_t *key, ptrdiff_t count, const sgd_sides *s,
                                                   const sgd_step *step)
{
#define BODY(length) return NAME(logistic_negatives_body)(length, u, first, width, key, count, s, step)
    WITH_CONSTANT_LENGTH(f, BODY);
#undef BODY
}

#undef GET
#undef PUT
#undef WITH_CONSTANT_LENGTH
