/* The row solvers of als.c, for one real type. No include guard: see use_float32.h. */

/* Subtract sqrt(w_j) y_j . D^-1 l from the dual's targets c, and copy them to a; s is scratch, zero before and after.
 * Returns the objective at D^-1 l. */
ALTERNANT_FUNCTION double NAME(shift_targets)(const NAME(row) *row, const REAL *root, const REAL *V, REAL *s, REAL *c,
                                              REAL *a)
{
    const ptrdiff_t n = row->n, np = padded(n, sizeof(REAL));
    double objective = 0;
    ptrdiff_t j, k;
    for (k = 0; k < row->f; k++) {
        const REAL scaled = root[k] * row->linear[k];
        objective -= (double)scaled * scaled;
        for (j = 0; j < n; j++) s[j] += scaled * V[k * np + j];
    }
    for (j = 0; j < n; j++) {
        objective += ((double)s[j] - 2 * (double)c[j]) * s[j];
        c[j] -= s[j];
        a[j] = c[j];
        s[j] = 0;
    }
    return objective;
}

/* x = D^-1/2 V^T (I + V V^T)^-1 (t / sqrt(w)),  V = diag(sqrt(w)) Y D^-1/2,  D = diag(g) + lambda; V^T is stored.
 * With a linear term l, this solves for x - D^-1 l, whose targets are t - w Y D^-1 l. */
ALTERNANT_FUNCTION int NAME(solve_dual)(NAME(row) *row, REAL *scratch, REAL *out)
{
    const ptrdiff_t f = row->f, n = row->n, np = padded(n, sizeof(REAL));
    REAL *const root = scratch; /* 1 / sqrt(D) */
    REAL *const a = root + row->fp;
    REAL *const c = a + np;
    REAL *const s = c + np;
    REAL *const inverse = s + np;
    REAL *const V = inverse + np; /* f x n, transposed */
    REAL *const S = V + f * np;
    REAL *const panel = S + np * np;
    const double doubtful = REAL_BYTES == 4 ? DOUBTFUL_F32 : 0;
    double largest = 0, objective = 0;
    ptrdiff_t j, k;

    memset(scratch, 0, (char *)panel - (char *)scratch);
    for (k = 0; k < f; k++) root[k] = (REAL)(1 / sqrt((double)row->g[k] + row->lambda));
    NAME(targets)(row, 0, n, c);
    for (j = 0; j < n; j++) {
        const REAL *y = row->Y + index_at(row->indices, j) * f;
        const REAL scale = (REAL)sqrt((double)row->w[j]);
        if (j + AHEAD < n) ALTERNANT_PREFETCH(row->Y + index_at(row->indices, j + AHEAD) * f);
        c[j] /= scale;
        a[j] = c[j];
        for (k = 0; k < f; k++) V[k * np + j] = scale * y[k] * root[k];
    }
    if (row->linear != NULL) objective = NAME(shift_targets)(row, root, V, s, c, a);
    NAME(syrk)(f, np, 0, np, V, V, S);
    for (j = 0; j < np; j++) {
        S[j * np + j] += 1;
        if ((double)S[j * np + j] > largest) largest = (double)S[j * np + j];
    }
    if (!NAME(cholesky)(np, (REAL)(doubtful * largest), S, inverse, panel)) return ROW_SINGULAR;
    NAME(cholesky_solve)(np, S, inverse, a);
    for (k = 0; k < f; k++) {
        const double sum = NAME(dot)(n, V + k * np, a);
        out[k] = (REAL)(root[k] * (row->linear == NULL ? sum : sum + (double)root[k] * row->linear[k]));
        objective += sum * sum;
        for (j = 0; j < n; j++) s[j] += (REAL)sum * V[k * np + j]; /* sqrt(w_j) y_j . x */
    }
    for (j = 0; j < n; j++) objective += ((double)s[j] - 2 * (double)c[j]) * s[j];
    row->objective = objective;
    return ROW_SOLVED;
}

/* Size of the scratch buffer shared by solve_primal and solve_dual. */
ALTERNANT_INLINE size_t NAME(exact_bytes)(ptrdiff_t f)
{
    const size_t fp = padded(f, sizeof(REAL));
    return (2 * fp * fp + 2 * CHUNK * fp + 32 * fp + 2 * CHUNK) * sizeof(REAL);
}

/* Solve by the dual if that is cheaper and possible; in float64 if float32 cannot tell small pivots from zero. Sets
 * *no_memory if the allocation for that fails. */
ALTERNANT_FUNCTION int NAME(solve_exact)(NAME(row) *row, char *scratch, REAL *out, int *no_memory)
{
    int dual = row->n < row->f && row->well_posed, status;
    ptrdiff_t j;
    for (j = 0; dual && j < row->n; j++) dual = row->w[j] >= (REAL)ALS_SMALLEST_DUAL_WEIGHT;
    status = dual ? NAME(solve_dual)(row, (REAL *)scratch, out) : NAME(solve_primal)(row, (REAL *)scratch, out);
#ifdef REAL_IS_FLOAT32
    if (status == ROW_SINGULAR) {
        void *base;
        char *wide = alternant_scratch(2 * exact_bytes_f32(row->f), &base);
        if (wide == NULL) {
            *no_memory = 1;
            return ROW_SINGULAR;
        }
        status = solve_primal_f32_f64(row, (double *)wide, out);
        alternant_scratch_free(base);
    }
#else
    (void)no_memory;
#endif
    return status;
}

/* Scratch buffers of conjugate gradients. */
typedef struct {
    REAL *d, *inverse, *x, *r, *p; /* d = g + lambda and its inverse; iterate; residual; direction */
    REAL *q, *qb;                  /* sums over a chunk */
    double *total, *b;             /* sums over the row: A p - d p, and the right-hand side */
    REAL *chunk, *pack;            /* rows of Y: one chunk; those that are kept */
    int keep, bf16;                /* whether all rows are kept; whether as bfloat16 */
} NAME(cg);

ALTERNANT_INLINE size_t NAME(cg_bytes)(ptrdiff_t f, ptrdiff_t pack_rows)
{
    const size_t fp = padded(f, sizeof(REAL));
    return (7 + CHUNK + larger(pack_rows, CHUNK)) * fp * sizeof(REAL) + 2 * fp * sizeof(double);
}

/* Copy the rows of Y of entries j to j + rows. */
ALTERNANT_INLINE void NAME(gather_any)(const NAME(row) *row, ptrdiff_t rows, ptrdiff_t j, REAL *out)
{
    const index_list indices = indices_from(row->indices, j);
#ifdef REAL_IS_FLOAT32
    if (row->Y_f16 != NULL) {
        const ptrdiff_t ahead = smaller(larger(AHEAD_BYTES / (2 * row->fp), 4), CHUNK);
        gather_f16(rows, row->f, row->fp, row->Y_f16, indices, row->left - j, ahead, out);
        return;
    }
#endif
    NAME(gather)(rows, row->f, row->fp, row->Y, indices, row->left - j, out);
}

/* total = sum_j w_j (y_j . x) y_j and b = sum_j t_j y_j, packing the rows if they are kept. */
ALTERNANT_FUNCTION void NAME(apply_first)(const NAME(row) *row, const NAME(cg) *s)
{
    const ptrdiff_t f = row->f, fp = row->fp;
    const int unpadded = f == fp, f16 = unpadded && row->Y_f16 != NULL;
    const ptrdiff_t ahead = smaller(larger(AHEAD_BYTES / (f16 ? fp * 2 : fp * (ptrdiff_t)sizeof(REAL)), 4), CHUNK);
    const REAL *y[2 * CHUNK + 4];
    const uint16_t *halves[2 * CHUNK + 4];
    REAL t[CHUNK];
    const NAME(source) source = {y, f16 ? halves : NULL, s->chunk};
    REAL *pack = s->pack;
    ptrdiff_t j, k;
    memset(s->total, 0, fp * sizeof(double));
    memset(s->b, 0, fp * sizeof(double));
    for (j = 0; j < row->n; j += CHUNK) {
        const ptrdiff_t rows = smaller(CHUNK, row->n - j);
        const ptrdiff_t known = unpadded ? smaller(rows + ahead + 3, row->left - j) : rows;
        if (f16) {
            for (k = 0; k < known; k++) halves[k] = row->Y_f16 + index_at(row->indices, j + k) * f;
        } else if (unpadded) {
            for (k = 0; k < known; k++) y[k] = row->Y + index_at(row->indices, j + k) * f;
        } else { /* copy them, to add padding */
            NAME(gather_any)(row, rows, j, s->chunk);
            for (k = 0; k < rows; k++) y[k] = s->chunk + k * fp;
        }
        NAME(targets)(row, j, rows, t);
        NAME(first_pass)(rows, fp, s->bf16, known, ahead, &source, row->w + j, t, s->x, s->q, s->qb, s->total, s->b,
                         pack);
        if (s->keep) pack += s->bf16 ? rows * fp / 2 : rows * fp;
    }
}

/* total = sum_j w_j (y_j . p) y_j over the packed rows or, if they are not kept, over rows gathered again. */
ALTERNANT_FUNCTION void NAME(apply_again)(const NAME(row) *row, const NAME(cg) *s)
{
    ptrdiff_t j;
    memset(s->total, 0, row->fp * sizeof(double));
#ifdef REAL_IS_FLOAT32
    if (s->bf16) {
        bf16_pass_f32(row->n, row->fp, s->pack, row->w, s->p, s->q, s->total);
        return;
    }
#endif
    if (s->keep) NAME(pass)(row->n, row->fp, s->pack, row->w, s->p, s->q, s->total);
    for (j = 0; !s->keep && j < row->n; j += CHUNK) {
        const ptrdiff_t rows = smaller(CHUNK, row->n - j);
        NAME(gather_any)(row, rows, j, s->pack);
        NAME(pass)(rows, row->fp, s->pack, row->w + j, s->p, s->q, s->total);
    }
}

/* Conjugate gradients preconditioned by d = g + lambda, in place in `out`; als_reference.py has the stopping rule. */
ALTERNANT_FUNCTION int NAME(solve_cg)(NAME(row) *row, double tol, int max_steps, ptrdiff_t pack_rows, char *scratch,
                                      REAL *out)
{
    const ptrdiff_t f = row->f, fp = row->fp;
    double whole = 0, start, decrease = 0, left, rz, previous, curve;
    NAME(cg) s;
    ptrdiff_t k;
    s.d = (REAL *)scratch, s.inverse = s.d + fp, s.x = s.inverse + fp, s.r = s.x + fp, s.p = s.r + fp;
    s.q = s.p + fp, s.qb = s.q + fp;
    s.total = (double *)(s.qb + fp), s.b = s.total + fp;
    s.chunk = (REAL *)(s.b + fp), s.pack = s.chunk + CHUNK * fp;
#ifdef REAL_IS_FLOAT32
    s.bf16 = tol >= BF16_TOL && fits_bf16_f32(fp) && row->n * fp * 4 > BF16_BYTES && row->n <= 2 * pack_rows;
#else
    s.bf16 = 0;
#endif
    s.keep = s.bf16 || row->n <= pack_rows;

    NAME(precondition)(f, fp, row->g, row->lambda, s.d, s.inverse);
    memcpy(s.x, out, f * sizeof(REAL));
    for (k = f; k < fp; k++) s.x[k] = 0;
    NAME(apply_first)(row, &s);
    if (row->linear != NULL)
        for (k = 0; k < f; k++) s.b[k] += row->linear[k];
    rz = NAME(begin)(fp, s.b, s.total, s.d, s.inverse, s.x, s.r, s.p, &whole);
    if (whole <= row->underflow) {
        memset(out, 0, f * sizeof(REAL));
        return ROW_SOLVED;
    }
    start = NAME(value)(fp, s.b, s.r, s.x);
    if (start > 0) { /* the initial guess is worse than 0 */
        start = 0;
        memset(s.x, 0, fp * sizeof(REAL));
        memset(s.total, 0, fp * sizeof(double));
        rz = NAME(begin)(fp, s.b, s.total, s.d, s.inverse, s.x, s.r, s.p, &whole);
    }
    left = rz;
    while (row->steps < max_steps && left > tol * tol * decrease && rz > row->rounding * row->rounding * whole) {
        NAME(apply_again)(row, &s);
        curve = NAME(curvature)(fp, s.p, s.d, s.total);
        if (!(curve > 0)) return ROW_SINGULAR;
        previous = rz;
        rz = NAME(advance)(fp, rz / curve, s.p, s.d, s.inverse, s.total, s.x, s.r);
        NAME(redirect)(fp, (REAL)(rz / previous), s.r, s.inverse, s.p);
        decrease += previous * previous / curve;
        left = 2 * previous * previous / curve;
        left = rz < left ? rz : left;
        row->steps++;
    }
    memcpy(out, s.x, f * sizeof(REAL));
    /* With rounded rows, the residual is off by the rounding times x, the decrease by that times the change in x. */
    row->objective = s.bf16 ? start - decrease : NAME(value)(fp, s.b, s.r, s.x);
    return ROW_SOLVED;
}

/* The fields common to all rows. */
ALTERNANT_INLINE NAME(row) NAME(any_row)(const als_problem *p)
{
    NAME(row) row = {0};
    row.f = p->f;
    row.fp = padded(p->f, sizeof(REAL));
    row.Y = (const REAL *)p->Y;
    row.Y_f16 = p->Y_f16;
    row.added = (REAL)p->added;
    row.scale = (const REAL *)p->target_scale;
    row.g = (const REAL *)p->diagonal;
    row.singular = REAL_BYTES == 4 ? ALS_SINGULAR_F32 : ALS_SINGULAR_F64;
    row.underflow = REAL_BYTES == 4 ? ALS_UNDERFLOW_F32 : ALS_UNDERFLOW_F64;
    row.rounding = REAL_BYTES == 4 ? ALS_ROUNDING_F32 : ALS_ROUNDING_F64;
    return row;
}

/* Point a row at its entries. */
ALTERNANT_INLINE void NAME(row_of)(NAME(row) *row, const als_problem *p, ptrdiff_t u)
{
    const int64_t begin = p->indptr[u];
    row->n = (ptrdiff_t)(p->indptr[u + 1] - begin);
    row->left = (ptrdiff_t)(p->indptr[p->m] - begin);
    row->indices.at = p->indices;
    row->indices.is_int64 = p->int64_indices;
    row->indices = indices_from(row->indices, (ptrdiff_t)begin);
    row->w = (const REAL *)p->weight + begin;
    row->linear = p->linear == NULL ? NULL : (const REAL *)p->linear + u * p->f;
    row->t = p->target == NULL ? NULL : (const REAL *)p->target + begin;
    row->steps = 0;
    row->objective = 0;
}

static int NAME(solve_rows)(const als_problem *p, const als_solution *s)
{
    const ptrdiff_t m = p->m, f = p->f, share = larger(1, smaller(16, m / (8 * p->threads)));
    const REAL *const g = (const REAL *)p->diagonal, *const lambdas = (const REAL *)p->regularization;
    const NAME(row) any = NAME(any_row)(p);
    double smallest = g[0], largest = g[0];
    ptrdiff_t longest = 0, pack_rows, k;
    size_t cg_bytes, exact_bytes;
    int any_exact = s->exact, no_memory = 0;
    for (k = 1; k < f; k++) {
        smallest = g[k] < smallest ? g[k] : smallest;
        largest = g[k] > largest ? g[k] : largest;
    }
    for (k = 0; k < m; k++) {
        longest = larger(longest, (ptrdiff_t)(p->indptr[k + 1] - p->indptr[k]));
        any_exact |= is_singular(smallest + lambdas[k], largest + lambdas[k], any.singular);
    }
    if (any_exact && p->Y_f16 != NULL) return ALS_NEEDS_Y;
    pack_rows = smaller(longest, PACK_BYTES / (any.fp * (ptrdiff_t)sizeof(REAL)));
    cg_bytes = s->exact ? 0 : NAME(cg_bytes)(f, pack_rows);
    cg_bytes = (cg_bytes + ALTERNANT_ALIGNMENT - 1) / ALTERNANT_ALIGNMENT * ALTERNANT_ALIGNMENT;
    exact_bytes = any_exact ? NAME(exact_bytes)(f) : 0;
    (void)share; /* unused without OpenMP */
#ifdef _OPENMP
#  pragma omp parallel num_threads(p->threads) reduction(| : no_memory)
#endif
    {
        NAME(row) row = any;
        void *base;
        char *const scratch = alternant_scratch(cg_bytes + exact_bytes, &base);
        ptrdiff_t u;
        no_memory |= scratch == NULL;
#ifdef _OPENMP
#  pragma omp for schedule(dynamic, share)
#endif
        for (u = 0; u < m; u++) {
            REAL *const x = (REAL *)s->X + u * f;
            if (scratch == NULL) continue;
            NAME(row_of)(&row, p, u);
            row.lambda = lambdas[u];
            row.well_posed = !is_singular(smallest + row.lambda, largest + row.lambda, row.singular);
            if (row.n == 0) memset(x, 0, f * sizeof(REAL));
            else if (s->exact || !row.well_posed)
                s->status[u] = (int8_t)NAME(solve_exact)(&row, scratch + cg_bytes, x, &no_memory);
            else s->status[u] = (int8_t)NAME(solve_cg)(&row, s->tol, s->max_steps, pack_rows, scratch, x);
            if (s->row_steps != NULL) s->row_steps[u] = row.steps;
            if (s->row_objective != NULL) s->row_objective[u] = row.objective;
        }
        alternant_scratch_free(base);
    }
    return no_memory ? ALS_NO_MEMORY : ALS_DONE;
}

static void NAME(squared_error)(const als_problem *p, double *row_error)
{
    const ptrdiff_t m = p->m, f = p->f;
    const REAL *const g = (const REAL *)p->diagonal;
    ptrdiff_t u;
#ifdef _OPENMP
#  pragma omp parallel for schedule(dynamic, 16) num_threads(p->threads)
#endif
    for (u = 0; u < m; u++) {
        const REAL *const x = (const REAL *)p->X + u * f;
        NAME(row) row = NAME(any_row)(p);
        double total = 0;
        ptrdiff_t j, k;
        NAME(row_of)(&row, p, u);
        for (k = 0; k < f; k++) total = total + (double)g[k] * x[k] * x[k];
        for (j = 0; j < row.n; j++) {
            const double s = NAME(dot)(f, x, row.Y + index_at(row.indices, j) * f);
            const double t = row.t == NULL ? (REAL)(row.w[j] + row.added) : row.t[j];
            total = total + (row.w[j] * s - 2 * t) * s;
        }
        row_error[u] = total;
    }
}

/* out_u = sum_j w_j (y_j . p_u) y_j. Rows whose p_u is 0 are not read. */
static int NAME(normal_products)(const als_problem *p, void *out)
{
    const ptrdiff_t m = p->m, f = p->f, fp = padded(f, sizeof(REAL));
    int no_memory = 0;
#ifdef _OPENMP
#  pragma omp parallel num_threads(p->threads) reduction(| : no_memory)
#endif
    {
        NAME(row) row = NAME(any_row)(p);
        void *base;
        double *const total = (double *)alternant_scratch(fp * sizeof(double) + (2 + CHUNK) * fp * sizeof(REAL), &base);
        REAL *const direction = (REAL *)(total + fp), *const q = direction + fp, *const pack = q + fp;
        ptrdiff_t u, j, k;
        no_memory |= total == NULL;
#ifdef _OPENMP
#  pragma omp for schedule(dynamic, 16)
#endif
        for (u = 0; u < m; u++) {
            const REAL *const given = (const REAL *)p->X + u * f;
            REAL *const sum = (REAL *)out + u * f;
            int zero = 1;
            if (total == NULL) continue;
            NAME(row_of)(&row, p, u);
            for (k = 0; k < f; k++) zero &= given[k] == 0;
            memset(total, 0, fp * sizeof(double) + fp * sizeof(REAL));
            memcpy(direction, given, f * sizeof(REAL));
            for (j = 0; !zero && j < row.n; j += CHUNK) {
                const ptrdiff_t rows = smaller(CHUNK, row.n - j);
                NAME(gather_any)(&row, rows, j, pack);
                NAME(pass)(rows, fp, pack, row.w + j, direction, q, total);
            }
            for (k = 0; k < f; k++) sum[k] = (REAL)total[k];
        }
        alternant_scratch_free(base);
    }
    return no_memory ? ALS_NO_MEMORY : ALS_DONE;
}
