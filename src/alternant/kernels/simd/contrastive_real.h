/* Steps with many negatives, for one real type. No include guard: see use_float32.h. */

#include "steps_real.h"

/* out[r, c] = q[r] . column c of a panel, for 4 rows q of length f, `stride` apart in `out`. */
ALTERNANT_FUNCTION void NAME(panel_scores)(ptrdiff_t f, ptrdiff_t fp, const REAL *ALTERNANT_RESTRICT q,
                                           const REAL *ALTERNANT_RESTRICT panel, ptrdiff_t stride,
                                           REAL *ALTERNANT_RESTRICT out)
{
    ptrdiff_t c, k;
    for (c = 0; c < CONTRASTIVE_PANEL; c += 2 * VL) {
        VECTOR a0 = {0}, a1 = {0}, a2 = {0}, a3 = {0}, b0 = {0}, b1 = {0}, b2 = {0}, b3 = {0};
        for (k = 0; k < f; k++) {
            const VECTOR a = GET(panel + k * CONTRASTIVE_PANEL + c), b = GET(panel + k * CONTRASTIVE_PANEL + c + VL);
            a0 += q[k] * a;
            a1 += q[fp + k] * a;
            a2 += q[2 * fp + k] * a;
            a3 += q[3 * fp + k] * a;
            b0 += q[k] * b;
            b1 += q[fp + k] * b;
            b2 += q[2 * fp + k] * b;
            b3 += q[3 * fp + k] * b;
        }
        PUT(out + c) = a0;
        PUT(out + c + VL) = b0;
        PUT(out + stride + c) = a1;
        PUT(out + stride + c + VL) = b1;
        PUT(out + 2 * stride + c) = a2;
        PUT(out + 2 * stride + c + VL) = b2;
        PUT(out + 3 * stride + c) = a3;
        PUT(out + 3 * stride + c + VL) = b3;
    }
}

/* out[r] += sum_j w[j, r] rows[j] for 4 rows of `out`, where w[j, r] is w[j * along + r * across]. If `sparse`, most
 * weights are 0, and rows[j] is not read for them. */
ALTERNANT_FUNCTION void NAME(weighted_rows)(ptrdiff_t n, ptrdiff_t fp, const REAL *ALTERNANT_RESTRICT w,
                                            ptrdiff_t along, ptrdiff_t across, int sparse,
                                            const REAL *ALTERNANT_RESTRICT rows, REAL *ALTERNANT_RESTRICT out)
{
    ptrdiff_t k = 0, j;
    for (; k + 2 * VL <= fp; k += 2 * VL) {
        VECTOR a0 = GET(out + k), a1 = GET(out + fp + k), a2 = GET(out + 2 * fp + k), a3 = GET(out + 3 * fp + k);
        VECTOR b0 = GET(out + k + VL), b1 = GET(out + fp + k + VL), b2 = GET(out + 2 * fp + k + VL);
        VECTOR b3 = GET(out + 3 * fp + k + VL);
        for (j = 0; j < n; j++) {
            const REAL *v = w + j * along;
            VECTOR a, b;
            if (sparse && v[0] == 0 && v[across] == 0 && v[2 * across] == 0 && v[3 * across] == 0) continue;
            a = GET(rows + j * fp + k);
            b = GET(rows + j * fp + k + VL);
            a0 += v[0] * a;
            a1 += v[across] * a;
            a2 += v[2 * across] * a;
            a3 += v[3 * across] * a;
            b0 += v[0] * b;
            b1 += v[across] * b;
            b2 += v[2 * across] * b;
            b3 += v[3 * across] * b;
        }
        PUT(out + k) = a0;
        PUT(out + k + VL) = b0;
        PUT(out + fp + k) = a1;
        PUT(out + fp + k + VL) = b1;
        PUT(out + 2 * fp + k) = a2;
        PUT(out + 2 * fp + k + VL) = b2;
        PUT(out + 3 * fp + k) = a3;
        PUT(out + 3 * fp + k + VL) = b3;
    }
    for (; k < fp; k += VL) {
        VECTOR a0 = GET(out + k), a1 = GET(out + fp + k), a2 = GET(out + 2 * fp + k), a3 = GET(out + 3 * fp + k);
        for (j = 0; j < n; j++) {
            const REAL *v = w + j * along;
            VECTOR a;
            if (sparse && v[0] == 0 && v[across] == 0 && v[2 * across] == 0 && v[3 * across] == 0) continue;
            a = GET(rows + j * fp + k);
            a0 += v[0] * a;
            a1 += v[across] * a;
            a2 += v[2 * across] * a;
            a3 += v[3 * across] * a;
        }
        PUT(out + k) = a0;
        PUT(out + fp + k) = a1;
        PUT(out + 2 * fp + k) = a2;
        PUT(out + 3 * fp + k) = a3;
    }
}

/* Move a unit vector along its sphere by Adagrad with one sum for the whole row; g is overwritten. */
ALTERNANT_INLINE void NAME(sphere_step)(ptrdiff_t f, REAL *ALTERNANT_RESTRICT x, REAL *ALTERNANT_RESTRICT g,
                                        double *sum, double rate)
{
    const REAL radial = NAME(row_dot)(f, g, x);
    double square;
    REAL scale;
    ptrdiff_t k;
    for (k = 0; k < f; k++) g[k] -= radial * x[k];
    square = NAME(dot)(f, g, g);
    *sum += square;
    if (!(square > 0) || rate == 0) return;
    scale = (REAL)(rate / sqrt(*sum));
    for (k = 0; k < f; k++) x[k] -= scale * g[k];
    scale = (REAL)(1 / sqrt(NAME(dot)(f, x, x)));
    for (k = 0; k < f; k++) x[k] *= scale;
}

/* s[j] = exp((s[j] - greatest) inverse), where no exponent is above 0. */
ALTERNANT_FUNCTION void NAME(exponentials)(ptrdiff_t n, REAL *ALTERNANT_RESTRICT s, REAL greatest, REAL inverse)
{
    ptrdiff_t j;
#ifdef REAL_IS_FLOAT32
    /* Vectorized by compilers, unlike expf, which took a third of an epoch: 2^k times a polynomial of the rest, within
     * 2e-7 of the value. */
    for (j = 0; j < n; j++) {
        const float x = (s[j] - greatest) * inverse, bounded = x < -87.0f ? -87.0f : x;
        const float k = (bounded * 1.44269504f + 12582912.0f) - 12582912.0f; /* rounded to an integer */
        const float r = (bounded - k * 0.693359375f) + k * 2.12194440e-4f;
        float power = 1.9875691500e-4f;
        union {
            int32_t bits;
            float value;
        } scale;
        power = power * r + 1.3981999507e-3f;
        power = power * r + 8.3334519073e-3f;
        power = power * r + 4.1665795894e-2f;
        power = power * r + 1.6666665459e-1f;
        power = power * r + 5.0000001201e-1f;
        scale.bits = (int32_t)((uint32_t)((int32_t)k + 127) << 23);
        s[j] = (power * r * r + r + 1.0f) * scale.value;
    }
#else
    for (j = 0; j < n; j++) s[j] = EXP((s[j] - greatest) * inverse);
#endif
}

/* Copy the negatives of a panel to the scratch memory, as rows and as columns. */
static void NAME(pack)(const contrastive_epoch *p, const int32_t *negatives, ptrdiff_t first)
{
    const ptrdiff_t f = p->f, fp = padded(f, sizeof(REAL)), end = smaller(first + CONTRASTIVE_PANEL, p->sampled);
    REAL *packed = (REAL *)p->packed, *panel = (REAL *)p->panels + first * f;
    ptrdiff_t j, k;
    for (j = first; j < end; j++) {
        const REAL *y = (const REAL *)p->Y + negatives[j] * f;
        for (k = 0; k < f; k++) {
            packed[j * fp + k] = y[k];
            panel[k * CONTRASTIVE_PANEL + j - first] = y[k];
        }
    }
}

/* Turn the scores of a row into derivatives of its loss, and return the loss. g gets the positives' part. */
static double NAME(row_loss)(const contrastive_epoch *p, ptrdiff_t u, const REAL *x, REAL *s, REAL *positive, REAL *g)
{
    const ptrdiff_t f = p->f, n = p->sampled;
    const REAL inverse = (REAL)(1 / p->temperature), margin = (REAL)p->margin;
    const double row_weight = p->row_weight[u];
    double loss = 0, total = 0, weight = 0, log_total = 0;
    REAL greatest = s[0];
    int64_t e;
    ptrdiff_t j, k;
    if (p->softmax) {
        REAL sum = 0;
        for (j = 1; j < n; j++) greatest = s[j] > greatest ? s[j] : greatest;
        NAME(exponentials)(n, s, greatest, inverse);
        ALTERNANT_SIMD_SUM(sum)
        for (j = 0; j < n; j++) sum += s[j];
        total = sum;
        log_total = log(total);
    } else {
        REAL sum = 0;
        ALTERNANT_SIMD_SUM(sum)
        for (j = 0; j < n; j++) sum += s[j] > margin ? s[j] - margin : 0;
        for (j = 0; j < n; j++) s[j] = s[j] > margin ? (REAL)1 : (REAL)0;
        total = sum;
    }
    for (e = p->indptr[u]; e < p->indptr[u + 1]; e++) {
        const REAL *y = (const REAL *)p->Y + p->indices[e] * f;
        REAL *slope = positive + (e - p->indptr[u]);
        const double score = NAME(row_dot)(f, x, y);
        if (p->softmax) {
            const double z = ((double)greatest - score) / p->temperature + log_total, fall = exp(-fabs(z));
            const double own = (z >= 0 ? 1 : fall) / (1 + fall); /* the probability that is not the positive's */
            loss += (z > 0 ? z : 0) + log1p(fall);
            weight += own / (total * p->temperature);
            *slope = (REAL)(-row_weight * own / p->temperature);
        } else {
            loss += 1 - score + p->weight / (double)n * total;
            weight += p->weight / (double)n;
            *slope = (REAL)-row_weight;
        }
        for (k = 0; k < f; k++) g[k] += *slope * y[k];
    }
    for (j = 0; j < n; j++) s[j] *= (REAL)(row_weight * weight);
    return row_weight * loss;
}

/* Process up to CONTRASTIVE_ROWS rows of a batch. */
static void NAME(rows_body)(const contrastive_epoch *p, int64_t begin, int64_t first, int64_t end)
{
    const ptrdiff_t f = p->f, fp = padded(f, sizeof(REAL)), stride = padded(p->sampled, 1);
    const ptrdiff_t at = (ptrdiff_t)(first - begin), count = smaller(CONTRASTIVE_ROWS, (ptrdiff_t)(end - first));
    REAL *old = (REAL *)p->old + at * fp, *slopes = (REAL *)p->slopes + at * stride;
    REAL *gradient = (REAL *)p->gradient + at * fp;
    ptrdiff_t r, c, k;
    int any = 0;
    for (r = 0; r < count; r++) {
        memcpy(old + r * fp, (const REAL *)p->X + (first + r) * f, (size_t)f * sizeof(REAL));
        any |= p->indptr[first + r] < p->indptr[first + r + 1];
    }
    for (k = 0; k < CONTRASTIVE_ROWS * fp; k++) gradient[k] = 0;
    if (!any) { /* rows without entries take no step */
        memset(slopes, 0, (size_t)(count * stride) * sizeof(REAL));
        return;
    }
    for (c = 0; c < p->sampled; c += CONTRASTIVE_PANEL)
        NAME(panel_scores)(f, fp, old, (const REAL *)p->panels + c * f, stride, slopes + c);
    for (r = 0; r < count; r++)
        p->loss[first + r] += NAME(row_loss)(p, (ptrdiff_t)(first + r), old + r * fp, slopes + r * stride,
                                            (REAL *)p->positive + (p->indptr[first + r] - p->indptr[begin]),
                                            gradient + r * fp);
    NAME(weighted_rows)(p->sampled, fp, slopes, 1, stride, !p->softmax, (const REAL *)p->packed, gradient);
    for (r = 0; r < count; r++)
        NAME(sphere_step)(f, (REAL *)p->X + (first + r) * f, gradient + r * fp, p->row_squares + first + r, p->rate);
}

/* Add the positives' part to the gradient of a column, which is at `place` of the columns of its batch. */
ALTERNANT_INLINE void NAME(add_positives)(const contrastive_epoch *p, int64_t begin, int64_t place, REAL *g)
{
    const ptrdiff_t f = p->f, fp = padded(f, sizeof(REAL));
    const REAL *positive = (const REAL *)p->positive;
    int64_t at;
    ptrdiff_t k;
    for (at = p->starts[place]; at < p->starts[place + 1]; at++) {
        const int64_t entry = p->entries[at];
        const REAL *x = (const REAL *)p->old + (p->entry_rows[at] - begin) * fp;
        const REAL slope = positive[entry - p->indptr[begin]];
        for (k = 0; k < f; k++) g[k] += slope * x[k];
    }
}

/* Update up to CONTRASTIVE_ROWS columns: the negatives of a batch, then the positives that are not among them. */
static void NAME(columns_body)(const contrastive_epoch *p, int64_t batch, const int32_t *negatives, ptrdiff_t first,
                               ptrdiff_t end, REAL *gradient)
{
    const ptrdiff_t f = p->f, fp = padded(f, sizeof(REAL)), n = p->sampled, stride = padded(n, 1);
    const int64_t begin = p->row_edges[batch], own = p->column_edges[batch];
    const ptrdiff_t rows = (ptrdiff_t)(p->row_edges[batch + 1] - begin);
    const ptrdiff_t owned = (ptrdiff_t)(p->column_edges[batch + 1] - own);
    ptrdiff_t t, k;
    for (k = 0; k < CONTRASTIVE_ROWS * fp; k++) gradient[k] = 0;
    if (first < n)
        NAME(weighted_rows)(rows, fp, (const REAL *)p->slopes + first, stride, 1, !p->softmax,
                            (const REAL *)p->old, gradient);
    for (t = first; t < end; t++, gradient += fp) {
        int32_t i;
        ptrdiff_t place;
        if (t < n) {
            i = negatives[t];
            place = place_of(p->columns + own, owned, i);
        } else {
            place = t - n;
            i = p->columns[own + place];
            if (place_of(negatives, n, i) >= 0) continue;
        }
        if (place >= 0) NAME(add_positives)(p, begin, own + place, gradient);
        NAME(sphere_step)(f, (REAL *)p->Y + i * f, gradient, p->column_squares + i, p->rate);
    }
}

static void NAME(epoch)(const contrastive_epoch *p)
{
#ifdef _OPENMP
#  pragma omp parallel num_threads(p->threads)
#endif
    {
        ptrdiff_t b, at;
        for (b = 0; b < p->batches; b++) {
            const int64_t batch = p->order[b], begin = p->row_edges[batch], end = p->row_edges[batch + 1];
            const int32_t *negatives = p->negatives + b * p->sampled;
            const ptrdiff_t owned = (ptrdiff_t)(p->column_edges[batch + 1] - p->column_edges[batch]);
            /* The two kinds of columns do not share a call. */
            const ptrdiff_t n = p->sampled, groups = (n + CONTRASTIVE_ROWS - 1) / CONTRASTIVE_ROWS;
            const ptrdiff_t others = (owned + CONTRASTIVE_ROWS - 1) / CONTRASTIVE_ROWS;
            if (begin == end) continue;
#ifdef _OPENMP
#  pragma omp for schedule(static)
#endif
            for (at = 0; at < p->sampled; at += CONTRASTIVE_PANEL) NAME(pack)(p, negatives, at);
#ifdef _OPENMP
#  pragma omp for schedule(dynamic, 1)
#endif
            for (at = 0; at < (ptrdiff_t)(end - begin); at += CONTRASTIVE_ROWS)
                NAME(rows_body)(p, begin, begin + at, end);
            if (!p->update_columns) continue;
#ifdef _OPENMP
#  pragma omp for schedule(dynamic, 4)
#endif
            for (at = 0; at < groups + others; at++) {
                const ptrdiff_t first = at < groups ? at * CONTRASTIVE_ROWS : n + (at - groups) * CONTRASTIVE_ROWS;
                const ptrdiff_t most = at < groups ? n : n + owned;
                NAME(columns_body)(p, batch, negatives, first, smaller(first + CONTRASTIVE_ROWS, most),
                                   (REAL *)p->column_gradient
                                       + at * CONTRASTIVE_ROWS * padded(p->f, sizeof(REAL)));
            }
        }
    }
}

#undef GET
#undef PUT
#undef WITH_CONSTANT_LENGTH
