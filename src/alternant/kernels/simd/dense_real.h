/* The products of dense.c, for one real type. No include guard: see use_float32.h. */

/* out = rows M for n rows. For column-major BLAS, this is M^T rows^T, and a lower triangle is an upper one. */
ALTERNANT_FUNCTION void NAME(multiply_block)(const dense_product *p, ptrdiff_t n, const REAL *rows, REAL *out)
{
    const ptrdiff_t f = p->f, columns = p->columns;
    char left = 'L', no = 'N', triangle = p->triangle == LOWER_TRIANGLE ? 'U' : 'L';
    int size = (int)f, count = (int)n, width = (int)p->width, stride = (int)columns;
    REAL one = 1, zero = 0;
    REAL *const matrix = (REAL *)p->matrix;
    ptrdiff_t u, k;
    if (p->triangle != FULL_MATRIX && f > FULL_UP_TO) {
        for (u = 0; u < n; u++) memcpy(out + u * columns, rows + u * p->width, f * sizeof(REAL));
        p->blas->TRMM(&left, &triangle, &no, &no, &size, &count, &one, matrix, &size, out, &stride);
    } else {
        p->blas->GEMM(&no, &no, &size, &count, &size, &one, matrix, &size, (REAL *)rows, &width, &zero, out, &stride);
    }
    for (u = 0; u < n; u++)
        for (k = 0; k < f; k++) out[u * columns + k] += 0; /* normalize -0.0 to 0.0 */
    if (columns > f)
        for (u = 0; u < n; u++) memset(out + u * columns + f, 0, (columns - f) * sizeof(REAL));
}

static int NAME(multiply)(const dense_product *p)
{
    const ptrdiff_t blocks = (p->m + ROW_BLOCK - 1) / ROW_BLOCK;
    const int in_place = p->out == p->rows, needs_scratch = in_place || p->out == NULL;
    int no_memory = 0;
#ifdef _OPENMP
#  pragma omp parallel num_threads(p->threads) reduction(| : no_memory)
#endif
    {
        void *base = NULL;
        REAL *scratch = NULL;
        ptrdiff_t block;
        if (needs_scratch) {
            scratch = (REAL *)alternant_scratch(ROW_BLOCK * larger(p->width, p->columns) * sizeof(REAL), &base);
            no_memory |= scratch == NULL;
        }
#ifdef _OPENMP
#  pragma omp for schedule(dynamic, 1)
#endif
        for (block = 0; block < blocks; block++) {
            const ptrdiff_t start = block * ROW_BLOCK, n = smaller(ROW_BLOCK, p->m - start);
            const REAL *const rows = (const REAL *)p->rows + start * p->width;
            if (needs_scratch && scratch == NULL) continue;
            if (in_place) {
                memcpy(scratch, rows, n * p->width * sizeof(REAL));
                NAME(multiply_block)(p, n, scratch, (REAL *)p->out + start * p->columns);
            } else if (p->out != NULL) {
                NAME(multiply_block)(p, n, rows, (REAL *)p->out + start * p->columns);
            } else {
#ifdef REAL_IS_FLOAT32
                multiply_block_f32(p, n, rows, scratch);
                row_to_f16(n * p->columns, scratch, p->out_f16 + start * p->columns);
#endif
            }
        }
        alternant_scratch_free(base);
    }
    return no_memory;
}

/* total += rows^T rows in the lower triangle, in blocks of rows; `wide` is scratch for one block. */
ALTERNANT_FUNCTION void NAME(add_gramian)(const dense_product *p, ptrdiff_t start, ptrdiff_t stop, double *wide,
                                          double *total)
{
    char upper = 'U', no = 'N'; /* BLAS is column-major: this is the lower triangle */
    int size = (int)p->f, n;
    double one = 1;
    ptrdiff_t j;
    for (; start < stop; start += ROW_BLOCK) {
        const REAL *const rows = (const REAL *)p->rows + start * p->f;
        n = (int)smaller(ROW_BLOCK, stop - start);
        for (j = 0; j < n * p->f; j++) wide[j] = rows[j];
        p->blas->dsyrk(&upper, &no, &size, &n, &one, wide, &size, &one, total, &size);
    }
}

static int NAME(gramians)(const dense_product *p, ptrdiff_t parts, double *sums)
{
    int no_memory = 0;
#ifdef _OPENMP
#  pragma omp parallel num_threads(p->threads) reduction(| : no_memory)
#endif
    {
        void *base;
        char *const scratch = alternant_scratch(ROW_BLOCK * p->f * sizeof(double), &base);
        ptrdiff_t part;
        no_memory |= scratch == NULL;
#ifdef _OPENMP
#  pragma omp for schedule(dynamic, 1)
#endif
        for (part = 0; part < parts; part++)
            if (scratch != NULL)
                NAME(add_gramian)(p, p->m * part / parts, p->m * (part + 1) / parts, (double *)scratch,
                                  sums + part * p->f * p->f);
        alternant_scratch_free(base);
    }
    return no_memory;
}

static void NAME(squared_norms)(const dense_product *p, double *out)
{
    ptrdiff_t u;
#ifdef _OPENMP
#  pragma omp parallel for schedule(static) num_threads(p->threads)
#endif
    for (u = 0; u < p->m; u++) {
        const REAL *const row = (const REAL *)p->rows + u * p->f;
        out[u] = NAME(dot)(p->f, row, row);
    }
}
