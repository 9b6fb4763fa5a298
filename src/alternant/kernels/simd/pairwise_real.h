/* Draws and steps of pairwise learning to rank, for one real type. No include guard: see use_float32.h. */

#include "steps_real.h"

/* --- draws ------------------------------------------------------------------------------------------------------- */

/* The candidate of a hash, whose halves are two numbers. `sums` has |x_k| spread_k, accumulated, or is NULL; the last
 * factor is the bias, with 1 for x_k. */
ALTERNANT_INLINE int32_t NAME(candidate)(const pairwise_draw *p, const REAL *x, const double *sums, double reach,
                                         uint64_t hash)
{
    const uint64_t high = hash >> 32;
    if (sums != NULL) {
        const double at = (double)high * 2.3283064365386963e-10 * sums[p->f];
        const double rank_of = -log1p(-((double)(hash & 0xFFFFFFFFu) * 2.3283064365386963e-10) * reach) / p->rate;
        const ptrdiff_t rank = rank_of < (double)(p->n - 1) ? (ptrdiff_t)rank_of : p->n - 1;
        ptrdiff_t k = 0;
        while (k < p->f && sums[k] <= at) k++;
        return p->order[k * p->n + (k == p->f || x[k] > 0 ? rank : p->n - 1 - rank)];
    }
    if (p->thresholds != NULL) return popular_column(p, (int64_t)high);
    return (int32_t)(high * (uint64_t)p->n >> 32);
}

/* Draw a negative for column i of row u, whose columns are `row`; -1 if none was accepted. */
ALTERNANT_INLINE int32_t NAME(negative)(const pairwise_draw *p, int64_t u, int32_t i, const int32_t *row,
                                        ptrdiff_t length, const double *sums, double reach, uint64_t key,
                                        double *weight)
{
    const REAL *x = (const REAL *)p->X + u * p->f, *Y = (const REAL *)p->Y, *bias = (const REAL *)p->bias;
    const int search = p->rank_weight != NULL;
    const ptrdiff_t most = search ? p->most_draws : PAIRWISE_CANDIDATES, step = search ? PAIRWISE_BATCH : 1;
    const double own = search ? (double)bias[i] + NAME(row_dot)(p->f, x, Y + i * p->f) : 0;
    ptrdiff_t first, k;
    for (first = 0; first < most; first += step) {
        const ptrdiff_t batch = smaller(step, most - first);
        int32_t candidates[PAIRWISE_BATCH];
        for (k = 0; k < batch; k++) {
            const uint64_t hash = mix(key + SPLITMIX_GOLDEN * (uint64_t)(first + k + 1));
            candidates[k] = NAME(candidate)(p, x, sums, reach, hash);
            if (search) NAME(fetch)(p->f, Y + candidates[k] * p->f);
        }
        for (k = 0; k < batch; k++) {
            const int32_t j = candidates[k];
            if (j == i) continue;
            if (search && !(own < 1 + ((double)bias[j] + NAME(row_dot)(p->f, x, Y + j * p->f)))) continue;
            /* After the score: few candidates come here in a search. */
            if (p->verify && contains(row, length, j)) continue;
            if (search) *weight = p->rank_weight[first + k];
            return j;
        }
    }
    return -1;
}

/* Draw the negatives of each part, and count its triples in each task. */
static void NAME(draw)(const pairwise_draw *p)
{
    const double reach = p->order == NULL ? 0 : -expm1(-p->rate * (double)p->n);
    ptrdiff_t part;
#ifdef _OPENMP
#  pragma omp parallel for schedule(dynamic, 1) num_threads(p->threads)
#endif
    for (part = 0; part < p->parts; part++) {
        int64_t *const counts = p->places + part * p->all_tasks, u, e;
        for (u = p->part_edges[part]; u < p->part_edges[part + 1]; u++) {
            const int64_t start = p->indptr[u], end = p->indptr[u + 1];
            const uint64_t number = p->keys == NULL ? (uint64_t)u : (uint64_t)p->keys[u];
            const uint64_t row_key = mix(p->state + SPLITMIX_GOLDEN * (number + 1));
            const ptrdiff_t block = p->row_block[u] * p->column_blocks;
            double *sums = NULL;
            e = next_entry(p, start);
            if (p->order != NULL && e < end) {
                const REAL *x = (const REAL *)p->X + u * p->f;
                double sum = 0;
                ptrdiff_t k;
                sums = p->sums + part * (p->f + 1);
                for (k = 0; k < p->f; k++) sums[k] = sum += fabs((double)x[k]) * p->spread[k];
                sums[k] = sum += p->spread[k];
                if (!(sum > 0)) sums = NULL;
            }
            for (; e < end; e += p->step) {
                const int32_t i = p->indices[e];
                const uint64_t key = mix(row_key + SPLITMIX_GOLDEN * (uint64_t)(e - start + 1));
                const int64_t at = (e - p->first) / p->step;
                double weight = 0;
                const int32_t j = NAME(negative)(p, u, i, p->indices + start, (ptrdiff_t)(end - start), sums, reach,
                                                 key, &weight);
                p->drawn[at] = j;
                if (p->drawn_weight != NULL) ((REAL *)p->drawn_weight)[at] = (REAL)weight;
                if (j >= 0) counts[p->task[(block + p->column_block[i]) * p->column_blocks + p->column_block[j]]]++;
            }
        }
    }
}

/* Copy the triples of each part to their tasks. */
static void NAME(group)(const pairwise_draw *p)
{
    ptrdiff_t part;
#ifdef _OPENMP
#  pragma omp parallel for schedule(dynamic, 1) num_threads(p->threads)
#endif
    for (part = 0; part < p->parts; part++) {
        int64_t *const places = p->places + part * p->all_tasks, u, e;
        for (u = p->part_edges[part]; u < p->part_edges[part + 1]; u++) {
            const ptrdiff_t block = p->row_block[u] * p->column_blocks;
            for (e = next_entry(p, p->indptr[u]); e < p->indptr[u + 1]; e += p->step) {
                const int64_t at = (e - p->first) / p->step;
                const int32_t i = p->indices[e], j = p->drawn[at];
                int64_t place;
                if (j < 0) continue;
                place = places[p->task[(block + p->column_block[i]) * p->column_blocks + p->column_block[j]]]++;
                p->rows[place] = (int32_t)u;
                p->positives[place] = i;
                p->negatives[place] = j;
                if (p->weight != NULL) ((REAL *)p->weight)[place] = ((const REAL *)p->drawn_weight)[at];
            }
        }
    }
}

/* --- steps ------------------------------------------------------------------------------------------------------- */

/* x . (y - z) */
ALTERNANT_INLINE REAL NAME(difference)(const ptrdiff_t f, const REAL *ALTERNANT_RESTRICT x,
                                       const REAL *ALTERNANT_RESTRICT y, const REAL *ALTERNANT_RESTRICT z)
{
    VECTOR s0 = {0}, s1 = {0};
    ptrdiff_t k = 0;
    for (; k + 2 * VL <= f; k += 2 * VL) {
        s0 += GET(x + k) * (GET(y + k) - GET(z + k));
        s1 += GET(x + k + VL) * (GET(y + k + VL) - GET(z + k + VL));
    }
    if (k + VL <= f) {
        s0 += GET(x + k) * (GET(y + k) - GET(z + k));
        k += VL;
    }
    REAL sum = NAME(lane_sum)(s0 + s1);
    for (; k < f; k++) sum += x[k] * (y[k] - z[k]);
    return sum;
}

/* x += g (y - z) - dx x, y += g x - dy y and z += -g x - dz z, all from the old values. */
ALTERNANT_INLINE void NAME(move_three)(const ptrdiff_t f, REAL *ALTERNANT_RESTRICT x, REAL *ALTERNANT_RESTRICT y,
                                       REAL *ALTERNANT_RESTRICT z, REAL g, REAL dx, REAL dy, REAL dz, int columns)
{
    ptrdiff_t k = 0;
    for (; k + VL <= f; k += VL) {
        const VECTOR xk = GET(x + k), yk = GET(y + k), zk = GET(z + k);
        PUT(x + k) = xk + (g * (yk - zk) - dx * xk);
        if (columns) {
            PUT(y + k) = yk + (g * xk - dy * yk);
            PUT(z + k) = zk - (g * xk + dz * zk);
        }
    }
    for (; k < f; k++) {
        const REAL xk = x[k], yk = y[k], zk = z[k];
        x[k] = xk + (g * (yk - zk) - dx * xk);
        if (columns) {
            y[k] = yk + (g * xk - dy * yk);
            z[k] = zk - (g * xk + dz * zk);
        }
    }
}

/* The same by Adagrad, with the sums of squares xx, yy, zz; plain loops, which compilers vectorize. */
ALTERNANT_INLINE void NAME(adagrad_three)(const ptrdiff_t f, REAL *ALTERNANT_RESTRICT x, REAL *ALTERNANT_RESTRICT y,
                                          REAL *ALTERNANT_RESTRICT z, REAL *ALTERNANT_RESTRICT xx,
                                          REAL *ALTERNANT_RESTRICT yy, REAL *ALTERNANT_RESTRICT zz, REAL g,
                                          const pairwise_epoch *p)
{
    const REAL rate = (REAL)p->rate, shrink_x = (REAL)p->shrink_x;
    const REAL shrink_y = (REAL)p->shrink_positive, shrink_z = (REAL)p->shrink_negative;
    ptrdiff_t k;
    if (p->columns) {
        for (k = 0; k < f; k++) {
            const REAL xk = x[k], yk = y[k], zk = z[k];
            const REAL gx = shrink_x * xk - g * (yk - zk), gy = shrink_y * yk - g * xk, gz = shrink_z * zk + g * xk;
            xx[k] += gx * gx;
            yy[k] += gy * gy;
            zz[k] += gz * gz;
            x[k] = xk - rate * gx / SQRT(xx[k]);
            y[k] = yk - rate * gy / SQRT(yy[k]);
            z[k] = zk - rate * gz / SQRT(zz[k]);
        }
    } else {
        for (k = 0; k < f; k++) {
            const REAL gx = shrink_x * x[k] - g * (y[k] - z[k]);
            xx[k] += gx * gx;
            x[k] -= rate * gx / SQRT(xx[k]);
        }
    }
}

/* Update the three rows and the two biases of a triple; g is minus the derivative of its loss by d. */
ALTERNANT_INLINE void NAME(pairwise_step)(const ptrdiff_t f, const pairwise_epoch *p, ptrdiff_t u, ptrdiff_t i,
                                          ptrdiff_t j, REAL g)
{
    REAL *x = (REAL *)p->X + u * f, *y = (REAL *)p->Y + i * f, *z = (REAL *)p->Y + j * f;
    REAL *c = (REAL *)p->bias;
    const REAL ci = c[i], cj = c[j];
    if (p->XX == NULL) {
        const REAL rate = (REAL)p->rate, shrink = (REAL)(p->rate * p->shrink_bias);
        NAME(move_three)(f, x, y, z, rate * g, (REAL)(p->rate * p->shrink_x), (REAL)(p->rate * p->shrink_positive),
                         (REAL)(p->rate * p->shrink_negative), p->columns);
        if (!p->columns) return;
        c[i] = ci + (rate * g - shrink * ci);
        c[j] = cj - (rate * g + shrink * cj);
    } else {
        REAL *cc = (REAL *)p->bias_squares;
        NAME(adagrad_three)(f, x, y, z, (REAL *)p->XX + u * f, (REAL *)p->YY + i * f, (REAL *)p->YY + j * f, g, p);
        if (!p->columns) return;
        NAME(adagrad)(c + i, cc + i, p->rate, p->shrink_bias * ci - g);
        NAME(adagrad)(c + j, cc + j, p->rate, p->shrink_bias * cj + g);
    }
}

/* Process the triples of one task. */
ALTERNANT_INLINE void NAME(task_body)(const ptrdiff_t f, const pairwise_epoch *p, ptrdiff_t task)
{
    const REAL *weight = (const REAL *)p->weight, *bias = (const REAL *)p->bias, *Y = (const REAL *)p->Y;
    const ptrdiff_t end = (ptrdiff_t)p->indptr[task + 1];
    double loss = 0, product = 1;
    int64_t correct = 0;
    ptrdiff_t t;
    for (t = (ptrdiff_t)p->indptr[task]; t < end; t++) {
        const ptrdiff_t u = p->rows[t], i = p->positives[t], j = p->negatives[t];
        const REAL w = weight == NULL ? 1 : weight[t];
        if (t + PAIRWISE_AHEAD < end) {
            NAME(fetch)(f, (const REAL *)p->X + p->rows[t + PAIRWISE_AHEAD] * f);
            NAME(fetch)(f, Y + p->positives[t + PAIRWISE_AHEAD] * f);
            NAME(fetch)(f, Y + p->negatives[t + PAIRWISE_AHEAD] * f);
        }
        const REAL d = bias[i] - bias[j] + NAME(difference)(f, (const REAL *)p->X + u * f, Y + i * f, Y + j * f);
        REAL g = w;
        correct += d > 0;
        if (p->hinge) {
            if (d >= 1) continue;
            loss += (double)w * (1 - (double)d);
        } else {
            const REAL e = EXP(-FABS(d));
            g = w * ((d >= 0 ? e : 1) / (1 + e));
            if (weight == NULL) {
                product *= 1 + (double)e;
                if (product > PAIRWISE_PRODUCT) {
                    loss += log(product);
                    product = 1;
                }
                loss += d < 0 ? -d : 0;
            } else {
                loss += w * ((d < 0 ? -d : 0) + log1p(e));
            }
        }
        NAME(pairwise_step)(f, p, u, i, j, g);
    }
    p->loss[task] = loss + log(product);
    p->correct[task] = correct;
}

ALTERNANT_FUNCTION void NAME(pairwise_task)(const pairwise_epoch *p, ptrdiff_t task)
{
#define BODY(length) NAME(task_body)(length, p, task)
    WITH_CONSTANT_LENGTH(p->f, BODY);
#undef BODY
}

/* Scheduled statically, as in sgd_epoch_real.h. */
static void NAME(epoch)(const pairwise_epoch *p)
{
#ifdef _OPENMP
#  pragma omp parallel num_threads(p->threads)
#endif
    {
        ptrdiff_t d, t;
        for (d = 0; d < p->rounds; d++) {
#ifdef _OPENMP
#  pragma omp for schedule(static)
#endif
            for (t = 0; t < p->tasks; t++) NAME(pairwise_task)(p, d * p->tasks + t);
        }
    }
}

#undef GET
#undef PUT
#undef WITH_CONSTANT_LENGTH
