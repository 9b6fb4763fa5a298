/* The non-negative row problem of alternating least squares, parallel over rows with OpenMP.
 *
 *     argmin over x >= 0 of x^T A x - 2 b^T x,    A = G + lambda_u I + sum_j w_j y_j y_j^T,    b = sum_j t_j y_j
 *
 * Cost of a row with n entries: n f^2 / 2 to form its matrix, f^2 per sweep of coordinate descent, p^3 / 6 per solve
 * with p positive unknowns; all in float64. Each row is computed by one thread in a fixed order, so results are bitwise
 * identical for any number of threads. */
#include "nnls.h"

#include "memory.h"
#include "thresholds.h"
#include "vector.h"

#include "use_float64.h"
#include "cholesky_real.h"
#include "use_none.h"

typedef struct {
    ptrdiff_t n, f, fp;         /* entries; factors; factors, padded */
    double largest, largest_b;  /* largest diagonal entry; largest |b_k| */
    int steps;                  /* OUT */
    double objective;           /* OUT */
    double *A;                  /* f x f, both triangles; rows padded with zeros */
    double *C;                  /* p x p, the submatrix of the positive unknowns */
    double *panel;              /* scratch of cholesky */
    double *pack, *Z;           /* CHUNK rows of Y; the same, weighted */
    double *w, *t;              /* CHUNK */
    double *x, *b, *g, *step;   /* g = A x - b */
    double *inverse;            /* 1 / diagonal of the Cholesky factor */
    ptrdiff_t *positive;
} nnls_row;

static size_t scratch_bytes(ptrdiff_t f)
{
    const size_t fp = padded(f, sizeof(double));
    return (2 * fp * fp + 8 * fp + 2 * CHUNK * fp + 2 * CHUNK + 5 * fp) * sizeof(double) + fp * sizeof(ptrdiff_t);
}

static nnls_row lay_out(char *memory, ptrdiff_t f)
{
    nnls_row s = {0};
    const ptrdiff_t fp = padded(f, sizeof(double));
    s.f = f, s.fp = fp;
    s.A = (double *)memory;
    s.C = s.A + fp * fp;
    s.panel = s.C + fp * fp;
    s.pack = s.panel + 8 * fp;
    s.Z = s.pack + CHUNK * fp;
    s.w = s.Z + CHUNK * fp;
    s.t = s.w + CHUNK;
    s.x = s.t + CHUNK;
    s.b = s.x + fp;
    s.g = s.b + fp;
    s.step = s.g + fp;
    s.inverse = s.step + fp;
    s.positive = (ptrdiff_t *)(s.inverse + fp);
    return s;
}

/* Factor the rows and columns positive[0..p) of A into C; 0 if that fails. */
static int factor(nnls_row *s, ptrdiff_t p)
{
    const ptrdiff_t size = padded(p, sizeof(double));
    ptrdiff_t i, k;
    for (i = 0; i < size; i++) {
        for (k = i; k < size; k++) s->C[i * size + k] = k < p ? s->A[s->positive[i] * s->fp + s->positive[k]] : 0;
        /* Entries below the diagonal have no effect, but are read: clear stale NaN. */
        for (k = i - i % 8; k < i; k++) s->C[i * size + k] = 0;
        if (i >= p) s->C[i * size + i] = s->largest;
    }
    return cholesky_f64(size, NNLS_SINGULAR * s->largest, s->C, s->inverse, s->panel);
}

/* Mirror A, and find the largest entries; 0 if the objective has no minimum or overflows. */
static int finish(nnls_row *s, int negative)
{
    const ptrdiff_t f = s->f, fp = s->fp;
    double sum = 0;
    ptrdiff_t i, k;
    s->largest = 0;
    s->largest_b = 0;
    for (i = 0; i < f; i++) {
        for (k = 0; k < i; k++) s->A[i * fp + k] = s->A[k * fp + i];
        for (k = 0; k < f; k++) sum += s->A[i * fp + k];
        for (k = f; k < fp; k++) s->A[i * fp + k] = 0;
        sum += s->b[i];
        if (s->A[i * fp + i] > s->largest) s->largest = s->A[i * fp + i];
        if (fabs(s->b[i]) > s->largest_b) s->largest_b = fabs(s->b[i]);
    }
    if (!isfinite(sum)) return 0;
    for (i = 0; i < f; i++)
        if (s->A[i * fp + i] <= 0 && s->b[i] > 0) return 0;
    if (!negative) return 1;
    for (i = 0; i < f; i++) s->positive[i] = i;
    return factor(s, f);
}

/* g = A x - b */
static void gradient(nnls_row *s)
{
    const ptrdiff_t fp = s->fp;
    ptrdiff_t i, k;
    for (k = 0; k < fp; k++) s->g[k] = -s->b[k];
    for (i = 0; i < s->f; i++)
        if (s->x[i] != 0) {
            const double x = s->x[i], *A = s->A + i * fp;
            double *const g = s->g;
            for (k = 0; k < fp; k++) g[k] += x * A[k];
        }
}

/* Whether the projected gradient is small. */
static int converged(const nnls_row *s, double tol)
{
    double most = 0, sum = 0, bound;
    ptrdiff_t k;
    for (k = 0; k < s->f; k++) {
        const double size = s->x[k] > 0 ? fabs(s->g[k]) : -s->g[k];
        sum += s->x[k];
        most = size > most ? size : most;
    }
    bound = NNLS_ROUNDING * (s->largest * sum + s->largest_b);
    if (tol * s->largest_b > bound) bound = tol * s->largest_b;
    return most <= bound;
}

/* Minimize over one unknown at a time; return whether the set of positive unknowns has changed. */
static int sweep(nnls_row *s)
{
    const ptrdiff_t fp = s->fp;
    double *const g = s->g;
    int changed = 0;
    ptrdiff_t i, k;
    for (i = 0; i < s->f; i++) {
        const double *const A = s->A + i * fp;
        double moved, delta;
        if (A[i] <= 0) continue;
        moved = s->x[i] - g[i] / A[i];
        if (!(moved > 0)) moved = 0;
        delta = moved - s->x[i];
        if (delta != 0) {
            changed |= (moved > 0) != (s->x[i] > 0);
            s->x[i] = moved;
            for (k = 0; k < fp; k++) g[k] += delta * A[k];
        }
    }
    return changed;
}

/* Move to the minimum over the positive unknowns, or towards it until one of them reaches 0. */
static void step_on_positive(nnls_row *s)
{
    ptrdiff_t p = 0, k;
    double length = 1;
    for (k = 0; k < s->f; k++)
        if (s->x[k] > 0) s->positive[p++] = k;
    if (p == 0 || !factor(s, p)) return;
    for (k = 0; k < padded(p, sizeof(double)); k++) s->step[k] = k < p ? -s->g[s->positive[k]] : 0;
    cholesky_solve_f64(padded(p, sizeof(double)), s->C, s->inverse, s->step);
    for (k = 0; k < p; k++)
        if (s->step[k] < 0) {
            const double ratio = -s->x[s->positive[k]] / s->step[k];
            length = ratio < length ? ratio : length;
        }
    for (k = 0; k < p; k++) {
        double *const x = s->x + s->positive[k];
        const double ratio = s->step[k] < 0 ? -*x / s->step[k] : 2, moved = *x + length * s->step[k];
        *x = ratio <= length ? 0 : moved > 0 ? moved : 0;
    }
    gradient(s);
}

#include "use_float32.h"
#define GATHER gather_f32_f64
#include "nnls_real.h"
#undef GATHER
#include "use_none.h"

#include "use_float64.h"
#define GATHER gather_f64
#include "nnls_real.h"
#undef GATHER
#include "use_none.h"

extern const nnls_table ALTERNANT_TABLE(nnls);
const nnls_table ALTERNANT_TABLE(nnls) = {{solve_rows_f32, solve_rows_f64}};
