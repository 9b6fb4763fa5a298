/* A row problem of als.c, for one real type. No include guard: see use_float32.h. */

typedef struct {
    ptrdiff_t n, f, fp;          /* entries; factors; factors, padded */
    ptrdiff_t left;              /* entries from the row's first to the end of the last row */
    const REAL *Y;
    const uint16_t *Y_f16;       /* Y of float16, or NULL */
    index_list indices;          /* of the row's entries, as are w and t */
    const REAL *w;
    const REAL *t;               /* or NULL: then t = w + added */
    REAL added;
    const REAL *scale;           /* of the targets, by row of Y, or NULL */
    const REAL *linear;          /* added to the right-hand side, or NULL */
    const REAL *g;
    REAL lambda;
    int well_posed;              /* whether g + lambda is numerically nonsingular */
    double singular, underflow, rounding; /* thresholds: see thresholds.h */
    int steps;                   /* OUT */
    double objective;            /* OUT */
} NAME(row);

/* The targets of entries j to j + count. */
ALTERNANT_INLINE void NAME(targets)(const NAME(row) *row, ptrdiff_t j, ptrdiff_t count, REAL *out)
{
    ptrdiff_t k;
    if (row->t != NULL) {
        for (k = 0; k < count; k++) out[k] = row->t[j + k];
    } else {
        for (k = 0; k < count; k++) out[k] = row->w[j + k] + row->added;
    }
    if (row->scale != NULL) /* a separate loop, so that those above vectorize */
        for (k = 0; k < count; k++) out[k] *= row->scale[index_at(row->indices, j + k)];
}
