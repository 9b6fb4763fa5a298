"""The mutants: what `run.py` breaks. Each is a fault that somebody could make and that no promise of README allows.

A mutant that changes nothing one could notice does not belong here. `old` must be in the file exactly once: as little
of a line as is unmistakable.
"""

from __future__ import annotations

from dataclasses import dataclass

KERNELS = "src/alternant/kernels"
MODELS = "src/alternant/models"

# The tests of a family of kernels, those that are likely to notice first.
TESTS = {
    "als": ("tests/kernels/test_solve_rows.py", "tests/models/test_implicit_als.py", "tests/kernels/test_threads.py"),
    "nnls": ("tests/kernels/test_solve_rows_nonnegative.py",),
    "topk": ("tests/kernels/test_top_k.py", "tests/kernels/test_count_above.py"),
    "ranks": ("tests/kernels/test_count_above.py", "tests/kernels/test_score_all.py"),
    "sparse": ("tests/kernels/test_top_k_sparse.py",),
    "dense": ("tests/kernels/test_dense.py", "tests/kernels/test_threads.py"),
    "sgd": ("tests/kernels/test_sgd.py", "tests/kernels/test_negatives.py", "tests/kernels/test_grid.py"),
    "pairwise": ("tests/kernels/test_pairwise.py", "tests/models/test_bpr.py"),
    "contrastive": ("tests/kernels/test_contrastive.py", "tests/models/test_contrastive_mf.py"),
}


@dataclass(frozen=True)
class Mutant:
    """One fault."""

    name: str
    folder: str
    file: str  # the one of this name in the folder, or below
    old: str
    new: str
    why: str
    family: str = ""  # of kernels, whose tests are run
    where: str = "cython"  # cython, cython-<the one SIMD level where it shows>, numba, numpy or python
    tests: tuple[str, ...] = ()  # those of the family

    def __post_init__(self) -> None:
        if not self.tests:
            object.__setattr__(self, "tests", TESTS[self.family])

    @property
    def level(self) -> str:
        """The only SIMD level at which it shows, or nothing."""
        return self.where.partition("-")[2]

    @property
    def module(self) -> str:
        """Which extension module to build again, as a regular expression."""
        return rf"\.{self.family}_cython$" if self.where.startswith("cython") else ""

    def likely(self, best: str) -> str:
        """Return which tests to run first, as an expression for `pytest -k`."""
        if self.where.startswith("cython"):
            return f"cython-{self.level or best}"
        return {"numba": "numba", "numpy": "not numba"}.get(self.where, "")  # others are compared with NumPy's


def cython(name: str, file: str, old: str, new: str, why: str, level: str = "") -> Mutant:
    """Return a mutant of native code; the family is the first word of its name."""
    return Mutant(name, KERNELS, file, old, new, why, name.split("-")[0], f"cython{'-' * bool(level)}{level}")


def numba(name: str, file: str, old: str, new: str, why: str) -> Mutant:
    """Return a mutant of a kernel compiled by Numba."""
    return Mutant(name, KERNELS, file, old, new, why, name.split("-")[0], "numba")


def numpy(name: str, file: str, old: str, new: str, why: str) -> Mutant:
    """Return a mutant of a reference."""
    return Mutant(name, KERNELS, file, old, new, why, name.split("-")[0], "numpy")


def python(name: str, file: str, old: str, new: str, why: str, *tests: str) -> Mutant:
    """Return a mutant of what is around the kernels."""
    folder, _, last = file.rpartition("/")
    return Mutant(name, folder, last, old, new, why, "", "python", tests)


MUTANTS = (
    # --- least squares, native
    cython("als-c-no-preconditioner", "cg_real.h", "inverse[k] = 1 / d[k];", "inverse[k] = 1;",
           "conjugate gradients lose their preconditioner"),
    cython("als-c-no-convergence-test", "als_real.h", "row->steps < max_steps && left > tol * tol * decrease && rz",
           "row->steps < max_steps && rz", "rows are iterated on although they are within tol"),
    cython("als-c-inverse-beta", "als_real.h", "(REAL)(rz / previous), s.r", "(REAL)(previous / rz), s.r",
           "the new direction is mixed upside down"),
    cython("als-c-curvature-without-diagonal", "cg_real.h", "sum += p[k] * (q[k] + (double)d[k] * p[k]);",
           "sum += p[k] * q[k];", "the curvature of a step leaves the regularization out"),
    cython("als-c-indefinite-not-reported", "als_real.h", "if (!(curve > 0)) return ROW_SINGULAR;",
           "if (!(curve > 0)) break;", "a matrix that is not positive definite is not reported"),
    cython("als-c-weights-of-first-chunk", "als_real.h", "NAME(pass)(rows, row->fp, s->pack, row->w + j,",
           "NAME(pass)(rows, row->fp, s->pack, row->w,",
           "rows too long to be packed take the weights of their first 64 entries"),
    cython("als-c-last-row-of-tail", "cg_real.h",
           "for (; j < n; j++) {\n        const REAL *y = Y + j * length;",
           "for (; j + 1 < n; j++) {\n        const REAL *y = Y + j * length;",
           "the last of the entries beyond a multiple of four is left out"),
    cython("als-c-half-of-bf16", "bf16_real.h", "right += NAME(right_bf16)(both) * c[r];",
           "right += NAME(left_bf16)(both) * c[r];", "rows kept in 16 bits give the wrong half back"),
    cython("als-c-regularization-of-row-0", "als_real.h", "row.lambda = lambdas[u];", "row.lambda = lambdas[0];",
           "every row has the first one's regularization"),
    cython("als-c-target-scale-by-entry", "als_row_real.h", "row->scale[index_at(row->indices, j + k)]",
           "row->scale[index_at(row->indices, k)]", "targets beyond the first 64 are scaled by the wrong column"),
    cython("als-c-float32-sums", "cg_real.h", "const ptrdiff_t chunk = 64; /* rows",
           "const ptrdiff_t chunk = (ptrdiff_t)1 << 30; /* rows", "long rows are summed in float32 to the end"),
    cython("als-c-dual-without-identity", "als_real.h", "S[j * np + j] += 1;", "S[j * np + j] += 0;",
           "the dual of a short row is not regularized"),
    cython("als-c-no-float64-rescue", "als_real.h", "if (status == ROW_SINGULAR) {", "if (0) {",
           "what float32 cannot solve is not tried in float64"),
    cython("als-c-stale-padding", "als_primal_real.h", "if (f < fp) memset(pack", "if (f > fp) memset(pack",
           "scratch of a row solved through the dual is taken for padding"),
    cython("als-c-cholesky-sign", "cholesky_real.h", "AT(panel + k * size + c) = -row[k];",
           "AT(panel + k * size + c) = row[k];", "the trailing update of Cholesky has the wrong sign"),
    cython("als-c-row-shared", "als_real.h", "NAME(row) row = any;", "static NAME(row) row; row = any;",
           "threads solve their rows in one place, unsynchronised"),
    cython("als-c-squared-error-race", "als_real.h", "row_error[u] = total;", "row_error[0] += total;",
           "threads add their rows' errors to one number, unsynchronised"),
    # --- least squares, native, at one SIMD level
    cython("als-c-fold-avx2", "vector_real.h", "const VECTOR d = c + ALTERNANT_SWAP(8, c, 4);",
           "const VECTOR d = c + ALTERNANT_SWAP(8, c, 2);", "sums of four vectors of 8 lanes are folded wrongly",
           "avx2"),
    cython("als-c-fold-avx512", "vector_real.h", "const VECTOR e = d + ALTERNANT_SWAP(16, d, 4);",
           "const VECTOR e = d;", "sums of four vectors of 16 lanes are folded wrongly", "avx512"),
    cython("als-c-lane-sum-avx512", "vector_real.h", "    v += ALTERNANT_SWAP(16, v, 2);\n", "",
           "half of the lanes of a vector of 16 are not summed", "avx512"),
    cython("als-c-lane-sum-baseline", "vector_real.h", "    v += ALTERNANT_SWAP(4, v, 2);\n", "",
           "half of the lanes of a vector of 4 are not summed", "baseline"),
    cython("als-c-tile-rows-avx512", "vector.h", "#    define ALTERNANT_TILE_ROWS 16",
           "#    define ALTERNANT_TILE_ROWS 12", "tiles of the Gramian do not divide its blocks", "avx512"),
    cython("als-c-float16-subnormals-baseline", "f16.h", "small = (words_t)(rest < 0x00800000u);",
           "small = (words_t)(rest < 0x00400000u);", "some subnormal float16 numbers are misread", "baseline"),
    # --- least squares, non-negative, native
    cython("nnls-c-lower-triangle", "nnls.c", "s->A[i * fp + k] = s->A[k * fp + i];", "s->A[i * fp + k] = 0;",
           "the matrix of a row is not mirrored"),
    cython("nnls-c-regularization-of-row-0", "nnls_real.h", "((const REAL *)p->regularization)[u]",
           "((const REAL *)p->regularization)[0]", "every row has the first one's regularization"),
    cython("nnls-c-negative-allowed", "nnls.c", "if (!(moved > 0)) moved = 0;", "if (!(moved > -1e-3)) moved = 0;",
           "unknowns may be a little negative"),
    cython("nnls-c-convergence-of-zeros", "nnls.c", "s->x[k] > 0 ? fabs(s->g[k]) : -s->g[k];",
           "s->x[k] > 0 ? fabs(s->g[k]) : 0;", "zeros that should grow do not count against convergence"),
    cython("nnls-c-step-too-long", "nnls.c", "length = ratio < length ? ratio : length;",
           "length = ratio > length ? ratio : length;", "the step on positive unknowns goes past zero"),
    cython("nnls-c-negative-weights", "nnls_real.h", "negative |= w[j + k] < 0;", "negative |= 0;",
           "an indefinite matrix is not noticed"),
    cython("nnls-c-infinite", "nnls.c", "if (!isfinite(sum)) return 0;", "(void)0;",
           "a row whose numbers overflow is not reported"),
    # --- top k, native
    cython("topk-c-tie-order", "heap_real.h", "((a == b) & (a_id > b_id))", "((a == b) & (a_id < b_id))",
           "equal scores go to the higher id"),
    cython("topk-c-last-excluded", "topk.c", "return begin < stop && index_at(list, begin) == i;",
           "return begin + 1 < stop && index_at(list, begin) == i;",
           "the last excluded item of a query is not excluded"),
    cython("topk-c-heap-second-child", "heap_real.h",
           "if (child + 1 < k && NAME(worse)(score[child + 1], ids[child + 1], score[child], ids[child])) child++;",
           "", "a heap ignores every second child"),
    cython("topk-c-excluded-of-the-block", "topk_real.h", "!excludes(call, block->start + u, panel->ids[first + c])",
           "!excludes(call, u, panel->ids[first + c])",
           "the prefilter excludes what queries of the first block have seen"),
    cython("topk-c-bound-of-tile", "topk_real.h", "if (q * y + NAME(slack)(f, q, y) >= score[u * k])",
           "if (0.9 * q * y >= score[u * k])", "tiles that may hold better items are passed over"),
    cython("topk-c-bound-of-error", "topk_int8.h", "const double score = (worst - error)",
           "const double score = (worst + error)", "the prefilter drops items that rounding may have lowered"),
    cython("topk-c-candidates-of-query-0", "topk_real.h", "filled += !excludes(call, u, ids[filled]);",
           "filled += !excludes(call, 0, ids[filled]);", "lists of candidates ignore whose list it is"),
    cython("topk-c-rough-bound", "topk_real.h", "worst[0] - slack", "worst[0] + slack",
           "rounding of a rough sum leaves out items that rank"),
    cython("topk-c-panel-of-candidates", "topk_cython.pyx", "else chosen[start:stop]", "else chosen[start:stop - 1]",
           "each panel of candidates loses its last item"),
    cython("topk-c-order-of-summation", "scores_real.h", "FUSE(q[h][k], y[h][k], s[h])",
           "FUSE(q[h][f - 1 - k], y[h][f - 1 - k], s[h])", "equal items score differently by the way taken"),
    cython("topk-c-pairs-in-float32", "vector_real.h", "sum += (double)x[k] * y[k];", "sum += (REAL)(x[k] * y[k]);",
           "products of float32 are rounded before they are added"),
    cython("topk-c-either-avx512", "topk_int8.h", "#  define EITHER(a, b) ((lanes_t)((a) | (b)))",
           "#  define EITHER(a, b) ((lanes_t)((a) & (b)))", "the prefilter misses items of one half", "avx512"),
    cython("topk-c-either-avx2", "topk_int8.h", "#  define EITHER(a, b) _mm256_or_si256(a, b)",
           "#  define EITHER(a, b) _mm256_and_si256(a, b)", "the prefilter misses items of one half", "avx2"),
    # --- sparse products, native and by Numba
    cython("sparse-c-last-column", "sparse_real.h", "smaller(TILE, call->n - first)",
           "smaller(TILE, call->n - first - 1)", "the last column is never in a list"),
    cython("sparse-c-dense-values", "sparse_real.h", "factors == NULL ? 1 : factors[e]; /* 1", "1; /* 1",
           "a product with a dense matrix ignores the values"),
    cython("topk-c-later-panels", "topk_real.h", "left += block->left;", "left += 0;",
           "the items of later panels are never ranked"),
    cython("sparse-c-sums-kept", "sparse_real.h", "at->sums[j] = 0;", ";", "a row inherits the sums of the one before"),
    cython("sparse-c-tie-order", "sparse_real.h", "(i <= by_id)", "(i >= by_id)",
           "of equal entries the higher columns are selected"),
    cython("sparse-c-least-kept", "sparse_real.h", "    at->count = 0;\n    at->least = -(REAL)INFINITY;\n}",
           "    at->count = 0;\n}", "a row drops what is below the least value of the one before"),
    # --- ranks, native
    cython("ranks-c-tie-with-the-least", "ranks_real.h", "if (value < ascending[0]) continue;",
           "if (value <= ascending[0]) continue;", "ties with the least target are not counted"),
    cython("ranks-c-exclude-ignored", "ranks_real.h", "(const REAL *)counts->ascending + begin, -1,",
           "(const REAL *)counts->ascending + begin, 0,", "excluded items are counted"),
    cython("ranks-c-nan", "ranks_real.h", "values[c] = values[c] == values[c] ? values[c] : -(REAL)INFINITY;",
           "(void)values;", "NaN counts as high as it happens to compare"),
    cython("ranks-c-pack-short", "ranks_real.h", "for (start = 0; start < f; start += LANES) {",
           "for (start = 0; start + LANES <= f; start += LANES) {", "the last factors of packed items are missing"),
    cython("ranks-c-one-query-short", "ranks_real.h", "for (first = 0; first < call->n; first += PAIRED) {",
           "for (first = 0; first + PAIRED <= call->n; first += PAIRED) {", "the last items have no score"),
    cython("ranks-c-block-of-the-first", "ranks_real.h", "memcpy(out + u * call->n + first, tile + (u - group)",
           "memcpy(out + u * call->n + first, tile + 0 * (u - group)", "queries of a group share scores"),
    # --- dense products, native
    cython("dense-c-triangle-swapped", "dense_real.h", "p->triangle == LOWER_TRIANGLE ? 'U' : 'L'",
           "p->triangle == LOWER_TRIANGLE ? 'L' : 'U'", "lower and upper triangles are swapped"),
    cython("dense-c-sign-of-zero", "dense_real.h", "out[u * columns + k] += 0;", "(void)0;", "products may be -0"),
    cython("dense-c-gramian-race", "dense_real.h", "sums + part * p->f * p->f);", "sums);",
           "threads add to one Gramian, unsynchronised"),
    cython("dense-c-ties-to-even-baseline", "f16.h", "0xfff + (bits >> 13 & 1)) >> 13;", "0xfff) >> 13;",
           "ties are rounded down to float16", "baseline"),
    cython("dense-c-truncates-avx2", "f16.h", "_MM_FROUND_TO_NEAREST_INT", "_MM_FROUND_TO_ZERO",
           "float16 is truncated", "avx2"),
    # --- gradient descent, native
    cython("sgd-c-bias-not-regularized", "sgd_real.h", "row_bias[u] = b + (g - db * b);", "row_bias[u] = b + g;",
           "a bias of a row is not regularized"),
    cython("sgd-c-moved-row-used", "sgd_real.h", "PUT(y + k * VL) = yk + (g * xk - dy * yk);",
           "PUT(y + k * VL) = yk + (g * x[k] - dy * yk);", "a column moves by the row after its step"),
    cython("sgd-c-no-slope", "sgd_real.h", "const REAL g = rate * error * slope;", "const REAL g = rate * error;",
           "the slope of the sigmoid is left out"),
    cython("sgd-c-cosine-norm-of-the-other", "sgd_real.h", "(REAL)(g * cosine / yy), step->columns);",
           "(REAL)(g * cosine / xx), step->columns);", "a column shrinks by the norm of the row"),
    cython("sgd-c-cosine-underflow", "sgd_real.h", "xx > SGD_SHORTEST && xx < SGD_LONGEST && yy", "xx > 0 && yy",
           "squares that float32 cannot hold are divided by"),
    cython("sgd-c-key-of-negatives", "sgd_epoch_real.h", "(uint64_t)(row * p->blocks + b + 1)",
           "(uint64_t)(row * p->blocks + 1)", "a row draws the same columns of every block"),
    cython("sgd-c-columns-move-always", "sgd_real.h", "if (step->columns) column_bias[i] = c + (g - dc * c);",
           "column_bias[i] = c + (g - dc * c);", "biases of fixed columns move"),
    cython("sgd-c-128-factors", "steps_real.h", "else if ((f) == 128) { BODY(128); }",
           "else if ((f) == 128) { BODY(64); }", "half of 128 factors do not take part"),
    cython("sgd-c-loss-race", "sgd_epoch_real.h", "p->loss[d * p->tasks + t] = NAME(task)(p, a, b);",
           "p->loss[0] += NAME(task)(p, a, b);", "threads add their losses to one number, unsynchronised"),
    cython("sgd-c-no-barrier", "sgd_epoch_real.h", "ALTERNANT_PRAGMA(omp for schedule(static))",
           "ALTERNANT_PRAGMA(omp for schedule(static) nowait)", "threads do not wait for each other between rounds"),
    cython("sgd-c-lanes-avx512", "sgd_real.h", "    v += ALTERNANT_SWAP(16, v, 1);\n", "",
           "neighbouring lanes of 16 keep different sums", "avx512"),
    cython("sgd-c-lanes-baseline", "sgd_real.h", "    v += ALTERNANT_SWAP(4, v, 1);\n", "",
           "neighbouring lanes of 4 keep different sums", "baseline"),
    # --- pairwise steps, native
    cython("pairwise-c-moved-row-used", "pairwise_real.h", "PUT(y + k) = yk + (g * xk - dy * yk);",
           "PUT(y + k) = yk + (g * GET(x + k) - dy * yk);", "the positive moves by the row after its step"),
    cython("pairwise-c-lambda-of-positives", "pairwise_real.h", "(REAL)(p->rate * p->shrink_negative), p->columns);",
           "(REAL)(p->rate * p->shrink_positive), p->columns);", "negatives shrink by the lambda of positives"),
    cython("pairwise-c-bias-of-the-negative", "pairwise_real.h", "c[j] = cj - (rate * g + shrink * cj);",
           "c[j] = cj - (rate * g - shrink * cj);", "the bias of a negative grows by its regularization"),
    cython("pairwise-c-own-column", "pairwise_real.h", "if (j == i) continue;", "(void)0;",
           "an entry may be its own negative"),
    cython("pairwise-c-search-any", "pairwise_real.h", "row_dot)(p->f, x, Y + j * p->f)))) continue;",
           "row_dot)(p->f, x, Y + j * p->f)))) break;", "a search ends at the first candidate without a violation"),
    cython("pairwise-c-adaptive-order", "pairwise_real.h", "(k == p->f || x[k] > 0 ? rank : p->n - 1 - rank)",
           "(k == p->f || x[k] < 0 ? rank : p->n - 1 - rank)", "adaptive negatives have the lowest scores"),
    cython("pairwise-c-part-of-a-row", "pairwise.c", "past == 0 ? at : at + p->step - past",
           "past == 0 ? at : at + past", "parts take entries twice and leave others out"),
    cython("pairwise-c-popular-range", "pairwise.c", "place[1] - place[0] + 1", "place[1] - place[0]",
           "the last column of a range is never drawn"),
    cython("pairwise-c-no-barrier", "pairwise_real.h", "#  pragma omp for schedule(static)\n",
           "#  pragma omp for schedule(static) nowait\n", "threads do not wait for each other between rounds"),
    # --- one positive and many negatives, native
    cython("contrastive-c-radial", "contrastive_real.h", "for (k = 0; k < f; k++) g[k] -= radial * x[k];",
           "(void)radial;", "gradients keep the part along their vector"),
    cython("contrastive-c-negative-without-positives", "contrastive_real.h",
           "place = place_of(p->columns + own, owned, i);", "place = -1;",
           "a column that is a negative loses its gradient as a positive"),
    cython("contrastive-c-column-twice", "contrastive_real.h", "if (place_of(negatives, n, i) >= 0) continue;",
           "(void)0;", "a column that is both is moved twice, by two threads"),
    cython("contrastive-c-moved-rows", "contrastive_real.h",
           "const REAL *x = (const REAL *)p->old + (p->entry_rows[at] - begin) * fp;",
           "const REAL *x = (const REAL *)p->X + p->entry_rows[at] * f;", "columns move by rows after their step"),
    cython("contrastive-c-greatest", "contrastive_real.h", "const double z = ((double)greatest - score)",
           "const double z = (0 - score)", "scores are shifted on one side only"),
    cython("contrastive-c-last-panel", "contrastive_real.h", "end = smaller(first + CONTRASTIVE_PANEL, p->sampled);",
           "end = smaller(first + CONTRASTIVE_PANEL, p->sampled - 1);", "the last negative is not packed"),
    cython("contrastive-c-no-barrier", "contrastive_real.h",
           "#  pragma omp for schedule(dynamic, 1)\n", "#  pragma omp for schedule(dynamic, 1) nowait\n",
           "columns move while rows are still read and summed"),
    # --- Numba
    numba("als-numba-no-preconditioner", "_numba_cg.py", "inverse[i] = 1 / d[i]\n", "inverse[i] = 1.0\n",
          "conjugate gradients lose their preconditioner"),
    numba("als-numba-stale-weights", "_numba_cg.py", "            w[j] = t[j] = 0\n", "            pass\n",
          "entries beyond the row keep the weights of an earlier one"),
    numba("als-numba-overlapping-ranges", "als_numba.py", "    return list(pairwise(cuts))",
          "    return [(begin, min(end + 1, cuts[-1])) for begin, end in pairwise(cuts)]",
          "two threads solve and write the same row"),
    numba("nnls-numba-regularization-of-row-0", "nnls_numba.py", "A[i, i] += problem.regularization[u]",
          "A[i, i] += problem.regularization[0]", "every row has the first one's regularization"),
    numba("topk-numba-tie-order", "topk_numba.py", "score > scores[0] if size == len(scores)",
          "score >= scores[0] if size == len(scores)", "equal scores go to the higher id"),
    numba("topk-numba-cursor", "topk_numba.py", "excluded[cursor] < item:", "excluded[cursor] <= item:",
          "excluded items are passed over"),
    numba("ranks-numba-equals", "ranks_numba.py", "out[at] == indices[target] else 1)",
          "out[at] == indices[target] else 0)", "a target counts itself among its equals"),
    numba("ranks-numba-tile-width", "ranks_numba.py", "scores[u, start : start + width] = products[:width]",
          "scores[u, start : start + width - 1] = products[: width - 1]", "the last score of a tile is missing"),
    numba("sgd-numba-no-barrier", "sgd_numba.py",
          "        for d in range(rounds):\n"
          "            parts = [(d, d + 1, *piece) for piece in pieces]\n"
          "            map_parallel(lambda part: kernel(*part, place, schedule, *arguments, losses), parts, threads)",
          "        parts = [(d, d + 1, *piece) for d in range(rounds) for piece in pieces]\n"
          "        map_parallel(lambda part: kernel(*part, place, schedule, *arguments, losses), parts, threads)",
          "threads do not wait for each other between rounds"),
    numba("sgd-numba-negative-columns", "sgd_numba.py", "high = _mix(key + _GOLDEN * np.uint64(k + 1))",
          "high = _mix(key + _GOLDEN * np.uint64(k))", "the columns drawn are not those of the other backends"),
    numba("pairwise-numba-tie-of-sums", "pairwise_numba.py", "sums[k] <= at:", "sums[k] <= at + 0.5:",
          "adaptive factors are drawn from other shares"),
    numba("contrastive-numba-weight", "contrastive_numba.py", "real(entries.row_weight[u] * weight)", "real(weight)",
          "the weight of a row does not reach the negatives"),
    # --- the references
    numpy("als-numpy-singular", "als_reference.py",
          "    if not np.diag(U).min() ** 2 > singular * np.diag(A).max():\n        raise LinAlgError\n", "",
          "a singular row is solved to rounding errors"),
    numpy("nnls-numpy-negative-start", "nnls_reference.py", "np.maximum(X[u].astype(np.float64), 0)",
          "X[u].astype(np.float64)", "descent begins outside of what is allowed"),
    numpy("topk-numpy-tie-order", "topk_reference.py", 'np.argsort(-scores, kind="stable")[:k]',
          'np.argsort(scores, kind="stable")[::-1][:k]', "equal scores go to the higher id"),
    numpy("topk-numpy-nan", "topk_reference.py", "rank = ~np.isnan(scores)", "rank = np.ones(len(scores), bool)",
          "NaN ranks"),
    numpy("ranks-numpy-itself", "ranks_reference.py", "- counted[target]", "- 1",
          "a target that is excluded is taken off its equals"),
    numpy("dense-numpy-float32-sums", "dense_reference.py",
          "            wide = rows[block].astype(np.float64)\n", "            wide = rows[block]\n",
          "the Gramian is summed in float32"),
    numpy("sgd-numpy-swapped-lambdas", "sgd_reference.py", "(g * x - lambda_y * y)", "(g * x - lambda_x * y)",
          "columns shrink by the rows' regularization"),
    numpy("sgd-numpy-radix", "sgd_reference.py", "np.uint8 if blocks <= 16", "np.uint8 if blocks <= 17",
          "numbers of blocks wrap at 256"),
    # --- models and threads
    python("model-objective-without-penalty", f"{MODELS}/als/implicit_objective.py",
           "total = solved.objective + penalty(other, Y, solver) + self.constant",
           "total = solved.objective + self.constant", "the objective leaves one side's regularization out",
           "tests/models/test_implicit_als.py"),
    python("model-no-restart", f"{MODELS}/als/momentum.py",
           'if self._before is None or done.record["objective"] <= self._objective:', "if True:",
           "momentum goes on although the objective rises", "tests/models/test_acceleration.py"),
    python("model-seen-not-excluded", f"{MODELS}/_base.py",
           "exclude = (seen.indptr, seen.indices) if exclude_seen and seen is not None else None", "exclude = None",
           "items that a user has seen are recommended", "tests/models/test_implicit_als.py"),
    python("model-similar-to-itself", f"{MODELS}/_similar.py", "itself = (np.arange(len(rows) + 1), rows)",
           "itself = None", "an item is similar to itself", "tests/models/test_serving.py"),
    python("model-bulk-offset", f"{MODELS}/_bulk.py", "at = np.arange(start, stop)",
           "at = np.arange(stop - start)", "later blocks leave out what the first users have seen",
           "tests/packaging/test_alignment.py"),
    python("model-partial-fit-loses-factors", f"{MODELS}/_fold_in.py", "factors[: len(own)] = own",
           "factors[: len(own) - 1] = own[:-1]", "appending a user clears the last one",
           "tests/models/test_serving.py", "tests/models/test_raw_ids.py", "tests/models/test_degree_normalization.py"),
    python("model-row-of-message", f"{MODELS}/als/half_sweep.py", "raise _singular(problems, rows.start + status - 1)",
           "raise _singular(problems, rows.start + status)", "a singular row is called by its neighbour's number",
           "tests/models/test_explicit_als.py", "tests/models/test_implicit_als.py"),
    python("model-bias-penalty", f"{MODELS}/sgd/penalty.py", "+ biases * np.square(bias, dtype=np.float64))", ")",
           "the objective leaves the biases' regularization out", "tests/models/test_biased_mf.py",
           "tests/models/test_stochastic_models.py"),
    python("store-round-of-another-diagonal", f"{MODELS}/sgd/blocks.py", "at = self._blocks[diagonal]",
           "at = self._blocks[diagonal - 1]", "a round of a fit from a store has the entries of another one",
           "tests/models/test_streaming_epochs.py"),
    python("store-losses-in-one-sum", f"{KERNELS}/_grid.py", "            of_round += loss\n        total += of_round",
           "            total += loss", "an epoch in one call has another loss than its rounds in calls of their own",
           "tests/kernels/test_sgd.py", "tests/models/test_streaming_epochs.py"),
    python("store-same-pairs-held-out", f"{MODELS}/sgd/held_out.py", "        seen = target\n", "",
           "each block of pairs holds out all that the blocks before should", "tests/models/test_streaming_epochs.py"),
    python("model-first-word", f"{MODELS}/sgd/events.py",
           "last = np.ones(len(key), bool)\n    last[:-1] = key[order[1:]] != key[order[:-1]]",
           "last = np.ones(len(key), bool)\n    last[1:] = key[order[1:]] != key[order[:-1]]",
           "of several events on a pair the first one counts", "tests/models/test_cosine_mf.py"),
    python("features-squares-for-products", f"{MODELS}/priors/products.py", "rows[:, first] * rows[:, second]",
           "rows[:, first] * rows[:, first]", "a product of two features is the square of one",
           "tests/models/test_features.py"),
    python("features-fewer-known", f"{MODELS}/priors/products.py", "marks = marks[np.flatnonzero(counted)]", "",
           "rows without interactions decide which products there are", "tests/models/test_features.py"),
    python("leaning-at-full-rate", f"{MODELS}/sgd/leaning.py", "min(1.0, rate) * weight", "weight",
           "late epochs move vectors as far as the first ones", "tests/models/test_bpr_features.py"),
    python("leaning-by-random-rows", f"{MODELS}/sgd/leaning.py", "matrix.to_scipy(), alike, counts > 0,",
           "matrix.to_scipy(), alike, counts >= 0,", "rows without interactions, which are noise, are regressed on",
           "tests/models/test_bpr_features.py"),
    python("leaning-on-yesterday", f"{MODELS}/sgd/leaning.py", "vectors[empty] = after.of_rows(empty, vectors.dtype)",
           "pass", "an item without interactions differs from a new one with the same features",
           "tests/models/test_bpr_features.py"),
    python("leaning-night-without-features", f"{MODELS}/sgd/pairwise_model.py",
           "            lean(vectors, means, counts, weight, 1.0)\n        stay", "            pass\n        stay",
           "a new item with an interaction forgets its features", "tests/models/test_bpr_features.py"),
    python("features-new-users-unnamed", f"{MODELS}/_bulk.py",
           "self.names = names_of_new_users(user_items, user_features, len(self.user_factors))",
           "self.names = np.arange(len(self.user_factors))", "new users of a table lose their ids in bulk",
           "tests/models/test_features.py"),
    python("features-held-out-item-in-train", "src/alternant/evaluation/_side_splits.py",
           "return np.isin(owner, chosen), chosen", "return np.isin(owner, chosen[1:]), chosen",
           "a held-out item keeps its interactions in train", "tests/tuning/test_tuning.py"),
    python("features-not-in-the-last-fit", "src/alternant/tuning/_search.py",
           "return fit(with_params(base, params), interactions, None, features)",
           "return fit(with_params(base, params), interactions, None, {})",
           "the best model of a search is fitted without the features", "tests/tuning/test_tuning.py"),
    python("lightfm-embeddings-by-rows-alone", "src/alternant/compat/lightfm/_features.py",
           "RIDGE * scale), F.T @ D, None)", "RIDGE * scale), F.T @ D / 2, None)",
           "embeddings follow half of the way", "tests/compat/test_lightfm.py"),
    python("threads-results-out-of-order", "src/alternant/_utils/threads.py", "results[i] = function(arguments[i])",
           "results[len(arguments) - 1 - len(left)] = function(arguments[i])",
           "results of parallel calls are in the order in which threads finish", "tests/kernels/test_threads.py"),
    python("threads-fork", "src/alternant/_utils/threads.py",
           "return num_threads if _openmp_owner in (None, os.getpid()) else 1", "return num_threads",
           "a forked child waits for threads that it does not have", "tests/kernels/test_threads.py"),
    python("threads-blas-limit", "src/alternant/_utils/threads.py", "if not _open_blocks:\n", "if True:\n",
           "the first block to end lifts the limit of all", "tests/kernels/test_threads.py"),
)
