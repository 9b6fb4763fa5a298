/* The row solver of nnls.c, for one real type; all arithmetic is float64. No include guard: see use_float32.h. */

/* Form both triangles of A, and b, from the entries at `begin`; 0 if the objective has no minimum or overflows. */
ALTERNANT_FUNCTION int NAME(form)(nnls_row *s, const nnls_problem *p, int64_t begin, double lambda)
{
    const ptrdiff_t f = s->f, fp = s->fp;
    const REAL *const w = (const REAL *)p->weight + begin, *const t = (const REAL *)p->target + begin;
    const REAL *const gramian = (const REAL *)p->gramian;
    index_list indices;
    int negative = 0;
    ptrdiff_t i, j, k;
    indices.at = p->indices;
    indices.is_int64 = p->int64_indices;
    indices = indices_from(indices, (ptrdiff_t)begin);
    memset(s->A, 0, fp * fp * sizeof(double));
    memset(s->b, 0, fp * sizeof(double));
    for (i = 0; i < f; i++) {
        for (k = i; k < f; k++) s->A[i * fp + k] = gramian[i * f + k];
        s->A[i * fp + i] += lambda;
    }
    for (j = 0; j < s->n; j += CHUNK) {
        const ptrdiff_t rows = smaller(CHUNK, s->n - j);
        int weighs = 0;
        GATHER(rows, f, fp, (const REAL *)p->Y, indices_from(indices, j), s->n - j, s->pack);
        for (k = 0; k < rows; k++) {
            s->w[k] = w[j + k];
            s->t[k] = t[j + k];
            weighs |= w[j + k] != 0;
            negative |= w[j + k] < 0;
        }
        scale_rows_f64(rows, fp, s->pack, s->w, s->t, s->Z, s->b);
        if (weighs) syrk_f64(rows, fp, 0, fp, s->Z, s->pack, s->A); /* for dense data, all weights are in the Gramian */
    }
    return finish(s, negative);
}

/* Solve one row, in place in `out`; 0 if it has no solution. */
ALTERNANT_FUNCTION int NAME(solve_row)(nnls_row *s, const nnls_problem *p, int64_t begin, double lambda, REAL *out)
{
    int gains = 0;
    ptrdiff_t k;
    if (!NAME(form)(s, p, begin, lambda)) return 0;
    memset(s->x, 0, s->fp * sizeof(double));
    for (k = 0; k < s->f; k++) {
        gains |= s->b[k] > 0;
        if (out[k] > 0 && s->A[k * s->fp + k] > 0) s->x[k] = out[k];
    }
    if (!gains) { /* A is positive semidefinite, so no x >= 0 is better than 0 */
        memset(out, 0, s->f * sizeof(REAL));
        return 1;
    }
    gradient(s);
    while (s->steps < p->max_steps && !converged(s, p->tol)) {
        const int changed = sweep(s);
        s->steps++;
        if (!changed || s->steps % NNLS_SWEEPS == 0) step_on_positive(s);
    }
    for (k = 0; k < s->f; k++)
        if (!isfinite((REAL)s->x[k])) return 0;
    gradient(s);
    for (k = 0; k < s->f; k++) {
        out[k] = (REAL)s->x[k];
#if defined(REAL_IS_FLOAT32) && defined(ALTERNANT_FMA)
        s->objective = __builtin_fma(s->x[k], s->g[k] - s->b[k], s->objective);
    }
#else /* separate from the sum, so that no compiler fuses the two */
        s->step[k] = s->x[k] * (s->g[k] - s->b[k]);
    }
    for (k = 0; k < s->f; k++) s->objective += s->step[k];
#endif
    return 1;
}

static int NAME(solve_rows)(const nnls_problem *p)
{
    const ptrdiff_t m = p->m, f = p->f, share = larger(1, smaller(16, m / (8 * p->threads)));
    int no_memory = 0;
    (void)share; /* unused without OpenMP */
#ifdef _OPENMP
#  pragma omp parallel num_threads(p->threads) reduction(| : no_memory)
#endif
    {
        void *base;
        char *const scratch = alternant_scratch(scratch_bytes(f), &base);
        nnls_row row = {0};
        ptrdiff_t u;
        if (scratch == NULL) no_memory = 1;
        else row = lay_out(scratch, f);
#ifdef _OPENMP
#  pragma omp for schedule(dynamic, share)
#endif
        for (u = 0; u < m; u++) {
            REAL *const x = (REAL *)p->X + u * f;
            if (scratch == NULL) continue;
            row.n = (ptrdiff_t)(p->indptr[u + 1] - p->indptr[u]);
            row.steps = 0;
            row.objective = 0;
            if (row.n == 0) memset(x, 0, f * sizeof(REAL));
            else
                p->status[u] = (int8_t)!NAME(solve_row)(&row, p, p->indptr[u],
                                                        ((const REAL *)p->regularization)[u], x);
            if (p->row_steps != NULL) p->row_steps[u] = row.steps;
            if (p->row_objective != NULL) p->row_objective[u] = row.objective;
        }
        alternant_scratch_free(base);
    }
    return no_memory;
}
