/* Cholesky of a row's f x f matrix: data in REAL, arithmetic in WORK. No include guard; it undefines WORK, WORK_NAME,
 * PRIMAL and GATHER. */

ALTERNANT_FUNCTION int PRIMAL(NAME(row) *row, WORK *scratch, REAL *out)
{
    const ptrdiff_t f = row->f, fp = padded(f, sizeof(WORK));
    WORK *const b = scratch;
    WORK *const chunk_b = b + fp;
    WORK *const inverse = chunk_b + fp;
    WORK *const chunk_w = inverse + fp;
    WORK *const chunk_t = chunk_w + CHUNK;
    WORK *const A = chunk_t + CHUNK;
    WORK *const kept = A + fp * fp; /* copies of A and b, which are overwritten */
    WORK *const kept_b = kept + fp * fp;
    WORK *const pack = kept_b + fp;
    WORK *const Z = pack + CHUNK * fp;
    REAL targets[CHUNK];
    double largest = 0, least;
    ptrdiff_t j, k;

    if (f < fp) memset(pack, 0, CHUNK * fp * sizeof(WORK)); /* solve_dual shares the memory and ignores padding */
    memset(A, 0, fp * fp * sizeof(WORK));
    memset(b, 0, fp * sizeof(WORK));
    for (j = 0; j < row->n; j += CHUNK) {
        const ptrdiff_t rows = smaller(CHUNK, row->n - j);
        GATHER(rows, f, fp, row->Y, indices_from(row->indices, j), row->left - j, pack);
        NAME(targets)(row, j, rows, targets);
        for (k = 0; k < rows; k++) {
            chunk_w[k] = row->w[j + k];
            chunk_t[k] = targets[k];
        }
        memset(chunk_b, 0, fp * sizeof(WORK));
        WORK_NAME(scale_rows)(rows, fp, pack, chunk_w, chunk_t, Z, chunk_b);
        for (k = 0; k < fp; k++) b[k] += chunk_b[k];
        WORK_NAME(syrk)(rows, fp, 0, fp, Z, pack, A);
    }
    if (row->linear != NULL)
        for (k = 0; k < f; k++) b[k] += row->linear[k];
    for (k = 0; k < f; k++) {
        A[k * fp + k] += (WORK)row->g[k] + (WORK)row->lambda;
        if ((double)A[k * fp + k] > largest) largest = (double)A[k * fp + k];
    }
    for (k = f; k < fp; k++) A[k * fp + k] = (WORK)largest; /* padding passes the pivot test at any scale */
    memcpy(kept, A, fp * fp * sizeof(WORK));
    memcpy(kept_b, b, fp * sizeof(WORK));
    least = (sizeof(WORK) == 4 ? DOUBTFUL_F32 : row->singular) * largest;
    if (!WORK_NAME(cholesky)(fp, (WORK)least, A, inverse, Z)) return ROW_SINGULAR;
    WORK_NAME(cholesky_solve)(fp, A, inverse, b);
    row->objective = WORK_NAME(quadratic)(fp, kept, kept_b, b);
    for (k = 0; k < f; k++) out[k] = (REAL)b[k];
    return ROW_SOLVED;
}

#undef WORK
#undef WORK_NAME
#undef PRIMAL
#undef GATHER
