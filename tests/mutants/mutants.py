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
    "ranks": ("tests/kernels/test_count_above.py",),
    "dense": ("tests/kernels/test_dense.py", "tests/kernels/test_threads.py"),
    "sgd": ("tests/kernels/test_sgd.py", "tests/kernels/test_negatives.py", "tests/kernels/test_grid.py"),
}


@dataclass(frozen=True)
class Mutant:
    """One fault."""

    name: str
    file: str
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

    def modules(self, best: str) -> str:
        """Return which extension modules to build again, as a regular expression: of one level only."""
        return rf"\._{self.level or best}\.{self.family}_cython$" if self.where.startswith("cython") else ""

    @property
    def optimization(self) -> str:
        """How far the compiler may optimize: where equal scores tie, it must contract products and sums as it does."""
        return "-O3" if self.family in ("topk", "ranks") else "-O1"

    def likely(self, best: str) -> str:
        """Return which tests to run first, as an expression for `pytest -k`."""
        if self.where.startswith("cython"):
            return f"cython-{self.level or best}"
        return "numba" if self.where == "numba" else ""


def cython(name: str, file: str, old: str, new: str, why: str, level: str = "") -> Mutant:
    """Return a mutant of native code; the family is the first word of its name."""
    return Mutant(name, f"{KERNELS}/{file}", old, new, why, name.split("-")[0], f"cython{'-' * bool(level)}{level}")


def numba(name: str, file: str, old: str, new: str, why: str) -> Mutant:
    """Return a mutant of a kernel compiled by Numba."""
    return Mutant(name, f"{KERNELS}/{file}", old, new, why, name.split("-")[0], "numba")


def numpy(name: str, file: str, old: str, new: str, why: str) -> Mutant:
    """Return a mutant of a reference."""
    return Mutant(name, f"{KERNELS}/{file}", old, new, why, name.split("-")[0], "numpy")


def python(name: str, file: str, old: str, new: str, why: str, *tests: str) -> Mutant:
    """Return a mutant of what is around the kernels."""
    return Mutant(name, file, old, new, why, "", "python", tests)


MUTANTS = (
    # --- least squares, native
    cython("als-c-no-preconditioner", "_cg_real.h", "inverse[k] = 1 / d[k];", "inverse[k] = 1;",
           "conjugate gradients lose their preconditioner"),
    cython("als-c-no-convergence-test", "als_cython.pyx", "row.steps < max_steps and left > tol * tol * decrease and",
           "row.steps < max_steps and", "rows are iterated on although they are within tol"),
    cython("als-c-inverse-beta", "als_cython.pyx", "redirect(fp, rz / previous,", "redirect(fp, previous / rz,",
           "the new direction is mixed upside down"),
    cython("als-c-curvature-without-diagonal", "_cg_real.h", "sum += p[k] * (q[k] + (double)d[k] * p[k]);",
           "sum += p[k] * q[k];", "the curvature of a step leaves the regularization out"),
    cython("als-c-indefinite-not-reported", "als_cython.pyx",
           "if not curve > 0:\n            return SINGULAR", "if not curve > 0:\n            break",
           "a matrix that is not positive definite is not reported"),
    cython("als-c-weights-of-first-chunk", "als_cython.pyx", "rows_pass(rows, row.fp, False, pack, w + j, p, q, total)",
           "rows_pass(rows, row.fp, False, pack, w, p, q, total)",
           "rows too long to be packed take the weights of their first 64 entries"),
    cython("als-c-last-row-of-tail", "_cg_real.h",
           "for (; j < n; j++) {\n        const REAL *y = Y + j * length;",
           "for (; j + 1 < n; j++) {\n        const REAL *y = Y + j * length;",
           "the last of the entries beyond a multiple of four is left out"),
    cython("als-c-half-of-bf16", "_half_real.h", "right += NAME(right_half)(both) * c[r];",
           "right += NAME(left_half)(both) * c[r];", "rows kept in 16 bits give the wrong half back"),
    cython("als-c-regularization-of-row-0", "als_cython.pyx", "regularization[u], tol, max_steps, pack_rows, scratch",
           "regularization[0], tol, max_steps, pack_rows, scratch", "every row has the first one's regularization"),
    cython("als-c-target-scale-by-entry", "_exact.pxd",
           "chunk_t[k] = <real> (<floating> chunk_t[k] * scale_of(row, w, indices[j + k]))",
           "chunk_t[k] = <real> (<floating> chunk_t[k] * scale_of(row, w, k))",
           "a target is scaled by its place instead of its column"),
    cython("als-c-float32-sums", "_cg_real.h", "const ptrdiff_t chunk = 64; /* rows",
           "const ptrdiff_t chunk = (ptrdiff_t)1 << 30; /* rows", "long rows are summed in float32 to the end"),
    cython("als-c-dual-without-identity", "_exact.pxd", "S[j * np_ + j] += 1", "S[j * np_ + j] += 0",
           "the dual of a short row is not regularized"),
    cython("als-c-dual-objective", "_exact.pxd", "(<double> s[j] - 2 * <double> c[j]) * s[j]",
           "(<double> s[j] - <double> c[j]) * s[j]", "the objective of rows solved through the dual"),
    cython("als-c-no-float64-rescue", "_exact.pxd", "if status == SINGULAR:", "if status == SINGULAR and False:",
           "what float32 cannot solve is not tried in float64"),
    cython("als-c-stale-padding", "_exact.pxd", "if row.f < fp:", "if row.f > fp:",
           "scratch of a row solved through the dual is taken for padding"),
    cython("als-c-cholesky-sign", "_vector_real.h", "AT(panel + k * size + c) = -row[k];",
           "AT(panel + k * size + c) = row[k];", "the trailing update of Cholesky has the wrong sign"),
    cython("als-c-back-substitution", "_vector_real.h", "for (i = 0; i < k; i++) z[i] -=",
           "for (i = 0; i + 1 < k; i++) z[i] -=", "back substitution leaves one unknown out"),
    cython("als-c-squared-error-cross-term", "als_cython.pyx", "total = total + (weight[j] * s - 2 * t) * s",
           "total = total + (weight[j] * s - t) * s", "squared_error counts the cross term once"),
    cython("als-c-squared-error-race", "als_cython.pyx", "row_error[u] = total",
           "row_error[0] = row_error[0] + total", "threads add their rows' errors to one number, unsynchronised"),
    # --- least squares, native, at one SIMD level
    cython("als-c-fold-avx2", "_half_real.h", "const VECTOR d = c + ALTERNANT_SWAP(8, c, 4);",
           "const VECTOR d = c + ALTERNANT_SWAP(8, c, 2);", "sums of four vectors of 8 lanes are folded wrongly",
           "avx2"),
    cython("als-c-fold-avx512", "_half_real.h", "const VECTOR e = d + ALTERNANT_SWAP(16, d, 4);",
           "const VECTOR e = d;", "sums of four vectors of 16 lanes are folded wrongly", "avx512"),
    cython("als-c-lane-sum-avx512", "_vector_real.h", "    v += ALTERNANT_SWAP(16, v, 2);\n", "",
           "half of the lanes of a vector of 16 are not summed", "avx512"),
    cython("als-c-lane-sum-baseline", "_vector_real.h", "    v += ALTERNANT_SWAP(4, v, 2);\n", "",
           "half of the lanes of a vector of 4 are not summed", "baseline"),
    cython("als-c-tile-rows-avx512", "_vector.h", "#    define ALTERNANT_TILE_ROWS 16",
           "#    define ALTERNANT_TILE_ROWS 12", "tiles of the Gramian do not divide its blocks", "avx512"),
    cython("als-c-float16-subnormals-baseline", "_half_real.h", "small = (WORDS)(rest < 0x00800000u);",
           "small = (WORDS)(rest < 0x00400000u);", "some subnormal float16 numbers are misread", "baseline"),
    # --- least squares, non-negative, native
    cython("nnls-c-lower-triangle", "nnls_cython.pyx", "s.A[i * fp + k] = s.A[k * fp + i]",
           "s.A[i * fp + k] = 0", "the matrix of a row is not mirrored"),
    cython("nnls-c-no-regularization", "nnls_cython.pyx", "s.A[i * fp + i] += lam", "s.A[i * fp + i] += 0",
           "the regularization is dropped"),
    cython("nnls-c-regularization-of-row-0", "nnls_cython.pyx", "&gramian[0, 0], regularization[u],",
           "&gramian[0, 0], regularization[0],", "every row has the first one's regularization"),
    cython("nnls-c-negative-allowed", "nnls_cython.pyx", "if not moved > 0:", "if not moved > -1e-3:",
           "unknowns may be a little negative"),
    cython("nnls-c-convergence-of-zeros", "nnls_cython.pyx", "fabs(s.g[k]) if s.x[k] > 0 else -s.g[k])",
           "fabs(s.g[k]) if s.x[k] > 0 else 0)", "zeros that should grow do not count against convergence"),
    cython("nnls-c-step-too-long", "nnls_cython.pyx", "length = min(length, -s.x[s.positive[k]] / s.step[k])",
           "length = max(length, -s.x[s.positive[k]] / s.step[k])", "the step on positive unknowns goes past zero"),
    cython("nnls-c-negative-weights", "nnls_cython.pyx", "negative = negative or w[j + k] < 0", "negative = False",
           "an indefinite matrix is not noticed"),
    cython("nnls-c-infinite", "nnls_cython.pyx", "if not isfinite(sum):", "if False:",
           "a row whose numbers overflow is not reported"),
    # --- top k, native
    cython("topk-c-tie-order", "_heap.pxd", "(a == b and a_id > b_id)", "(a == b and a_id < b_id)",
           "equal scores go to the higher id"),
    cython("topk-c-last-excluded", "_heap.pxd", "return begin < stop and indices[begin] == i",
           "return begin + 1 < stop and indices[begin] == i", "the last excluded item of a query is not excluded"),
    cython("topk-c-heap-second-child", "_heap.pxd",
           "if child + 1 < k and worse(score[child + 1], ids[child + 1], score[child], ids[child]):", "if False:",
           "a heap ignores every second child"),
    cython("topk-c-excluded-of-the-block", "topk_cython.pyx",
           "if a < width and not excludes(indptr, excluded, block.start + u, panel.ids[first + a]):",
           "if a < width and not excludes(indptr, excluded, u, panel.ids[first + a]):",
           "the prefilter excludes what queries of the first block have seen"),
    cython("topk-c-norms-ascend", "topk_cython.pyx", "order = np.argsort(-norms[:count])",
           "order = np.argsort(norms[:count])", "tiles that may hold better items are passed over"),
    cython("topk-c-bound-of-error", "_topk.h", "const double score = (worst - error)",
           "const double score = (worst + error)", "the prefilter drops items that rounding may have lowered"),
    cython("topk-c-candidates-of-query-0", "topk_cython.pyx",
           "filled += not excludes(indptr, excluded, u, i[filled])",
           "filled += not excludes(indptr, excluded, 0, i[filled])", "lists of candidates ignore whose list it is"),
    cython("topk-c-panel-of-candidates", "topk_cython.pyx", "else chosen[start:start + size]",
           "else chosen[start:start + size - 1]", "each panel of candidates loses its last item"),
    cython("topk-c-order-of-summation", "_topk_real.h", "REAL_FMA(q[h][k], y[h][k], s[h])",
           "REAL_FMA(q[h][f - 1 - k], y[h][f - 1 - k], s[h])", "equal items score differently by the way taken"),
    cython("topk-c-not-finite", "_topk_real.h", "return q * y < REAL_MAX / 2;", "return !(q * y >= REAL_MAX / 2);",
           "queries with NaN are rounded to bytes"),
    cython("topk-c-pairs-swapped", "topk_cython.pyx", "&Y[columns[p], 0]", "&Y[rows[p] % Y.shape[0], 0]",
           "score_pairs takes the row for the column"),
    cython("topk-c-pairs-in-float32", "_vector_real.h", "sum += (double)x[k] * y[k];", "sum += (REAL)(x[k] * y[k]);",
           "products of float32 are rounded before they are added"),
    cython("topk-c-either-avx512", "_topk.h", "#  define EITHER(a, b) ((lanes_t)((a) | (b)))",
           "#  define EITHER(a, b) ((lanes_t)((a) & (b)))", "the prefilter misses items of one half", "avx512"),
    cython("topk-c-either-avx2", "_topk.h", "#  define EITHER(a, b) _mm256_or_si256(a, b)",
           "#  define EITHER(a, b) _mm256_and_si256(a, b)", "the prefilter misses items of one half", "avx2"),
    cython("topk-c-correction-avx2", "_topk_real.h", "correction[1] = (uint16_t)(-TOPK_RANGE * half[1]);",
           "correction[1] = (uint16_t)(-TOPK_RANGE * half[0]);", "the offset of bytes is taken out wrongly", "avx2"),
    # --- ranks, native
    cython("ranks-c-tie-with-the-least", "ranks_cython.pyx", "if value < ascending[0]:", "if value <= ascending[0]:",
           "ties with the least target are not counted"),
    cython("ranks-c-exclude-ignored", "ranks_cython.pyx", "&ascending[indptr[u]], -1, &above[indptr[u]]",
           "&ascending[indptr[u]], 0, &above[indptr[u]]", "excluded items are counted"),
    cython("ranks-c-nan", "ranks_cython.pyx", "values[c] = values[c] if values[c] == values[c] else -INFINITY",
           "values[c] = values[c]", "NaN counts as high as it happens to compare"),
    cython("ranks-c-first-target", "ranks_cython.pyx", "range(indptr[u + 1] - 2, indptr[u] - 1, -1)",
           "range(indptr[u + 1] - 2, indptr[u], -1)", "the first target of a query misses what the others count"),
    # --- dense products, native
    cython("dense-c-triangle-swapped", "dense_cython.pyx", "trmm(<int> f, <int> n, triangle == -1,",
           "trmm(<int> f, <int> n, triangle == 1,", "lower and upper triangles are swapped"),
    cython("dense-c-sign-of-zero", "dense_cython.pyx", "out[u * columns + p] = out[u * columns + p] + 0",
           "out[u * columns + p] = out[u * columns + p]", "products may be -0"),
    cython("dense-c-gramian-race", "dense_cython.pyx", "<double *> scratch, &sums[part, 0, 0])",
           "<double *> scratch, &sums[0, 0, 0])", "threads add to one Gramian, unsynchronised"),
    cython("dense-c-mirror", "dense_cython.pyx", "for i in range(max(start, j + 1), stop):",
           "for i in range(max(start, j + 2), stop):", "a diagonal of the Gramian is not mirrored"),
    cython("dense-c-ties-to-even", "_half_real.h", "0xfff + (bits >> 13 & 1)) >> 13;", "0xfff) >> 13;",
           "ties are rounded down to float16", "baseline"),
    cython("dense-c-truncates-avx2", "_half_real.h", "_MM_FROUND_TO_NEAREST_INT", "_MM_FROUND_TO_ZERO",
           "float16 is truncated", "avx2"),
    # --- gradient descent, native
    cython("sgd-c-bias-not-regularized", "_sgd_real.h", "row_bias[u] = b + (g - db * b);", "row_bias[u] = b + g;",
           "a bias of a row is not regularized"),
    cython("sgd-c-moved-row-used", "_sgd_real.h", "PUT(y + k * VL) = yk + (g * xk - dy * yk);",
           "PUT(y + k * VL) = yk + (g * x[k] - dy * yk);", "a column moves by the row after its step"),
    cython("sgd-c-no-slope", "_sgd_real.h", "const REAL g = rate * error * slope;", "const REAL g = rate * error;",
           "the slope of the sigmoid is left out"),
    cython("sgd-c-cosine-norm-of-the-other", "_sgd_real.h", "(REAL)(g * cosine / yy), step->columns);",
           "(REAL)(g * cosine / xx), step->columns);", "a column shrinks by the norm of the row"),
    cython("sgd-c-cosine-underflow", "_sgd_real.h", "xx > SGD_SHORTEST && xx < SGD_LONGEST && yy", "xx > 0 && yy",
           "squares that float32 cannot hold are divided by"),
    cython("sgd-c-key-of-negatives", "sgd_cython.pyx", "<uint64_t> (u * blocks + b + 1))",
           "<uint64_t> (u * blocks + 1))", "a row draws the same columns of every block"),
    cython("sgd-c-columns-move-always", "_sgd_real.h", "if (step->columns) column_bias[i] = c + (g - dc * c);",
           "column_bias[i] = c + (g - dc * c);", "biases of fixed columns move"),
    cython("sgd-c-tail-of-dot", "_sgd_real.h", "for (; k < f; k++) sum += x[k] * y[k];",
           "for (; k + 1 < f; k++) sum += x[k] * y[k];", "the last of the factors beyond whole vectors is left out"),
    cython("sgd-c-128-factors", "_sgd_real.h", "else if ((f) == 128) { BODY(128); }",
           "else if ((f) == 128) { BODY(64); }", "half of 128 factors do not take part"),
    cython("sgd-c-blocks-share-columns", "sgd_cython.pyx",
           "loss[block] = cosine_block_f32(", "loss[a] = cosine_block_f32(",
           "threads write their losses over each other"),
    cython("sgd-c-lanes-avx512", "_sgd_real.h", "    v += ALTERNANT_SWAP(16, v, 1);\n", "",
           "neighbouring lanes of 16 keep different sums", "avx512"),
    cython("sgd-c-lanes-baseline", "_sgd_real.h", "    v += ALTERNANT_SWAP(4, v, 1);\n", "",
           "neighbouring lanes of 4 keep different sums", "baseline"),
    # --- Numba
    numba("als-numba-no-preconditioner", "als_numba.py", "inverse[i] = 1 / d[i]\n", "inverse[i] = 1.0\n",
          "conjugate gradients lose their preconditioner"),
    numba("als-numba-stale-weights", "als_numba.py", "            w[j] = t[j] = 0\n", "            pass\n",
          "entries beyond the row keep the weights of an earlier one"),
    numba("als-numba-overlapping-ranges", "als_numba.py", "    return list(pairwise(cuts))",
          "    return [(begin, min(end + 1, cuts[-1])) for begin, end in pairwise(cuts)]",
          "two threads solve and write the same row"),
    numba("als-numba-dual-without-identity", "_numba_cholesky.py", "        A[j, j] += 1\n", "",
          "the dual of a short row is not regularized"),
    numba("nnls-numba-regularization-of-row-0", "nnls_numba.py", "A[i, i] += problem.regularization[u]",
          "A[i, i] += problem.regularization[0]", "every row has the first one's regularization"),
    numba("topk-numba-tie-order", "topk_numba.py", "score > scores[0] if size == len(scores)",
          "score >= scores[0] if size == len(scores)", "equal scores go to the higher id"),
    numba("topk-numba-cursor", "topk_numba.py", "excluded[cursor] < item:", "excluded[cursor] <= item:",
          "excluded items are passed over"),
    numba("ranks-numba-equals", "ranks_numba.py", "out[at] == indices[target] else 1)",
          "out[at] == indices[target] else 0)", "a target counts itself among its equals"),
    numba("sgd-numba-no-slope", "sgd_numba.py", "score.span * s * (1 - s)", "score.span * s",
          "the slope of the sigmoid is wrong"),
    numba("sgd-numba-no-barrier", "sgd_numba.py",
          "        for d in range(blocks):\n"
          "            tasks = [(d, d + 1, *piece) for piece in pieces]\n"
          "            map_parallel(lambda task: kernel(*task, place, rounds, *arguments, losses), tasks, threads)",
          "        tasks = [(d, d + 1, *piece) for d in range(blocks) for piece in pieces]\n"
          "        map_parallel(lambda task: kernel(*task, place, rounds, *arguments, losses), tasks, threads)",
          "threads do not wait for each other between diagonals"),
    numba("sgd-numba-negative-columns", "sgd_numba.py", "high = _mix(key + _GOLDEN * np.uint64(k + 1))",
          "high = _mix(key + _GOLDEN * np.uint64(k))", "the columns drawn are not those of the other backends"),
    # --- the references
    numpy("als-numpy-cross-term", "als_reference.py", "total += x @ (g * x) + ((w * s - 2 * t) * s).sum()",
          "total += x @ (g * x) + ((w * s - t) * s).sum()", "squared_error counts the cross term once"),
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
          "wide = rows[block].astype(np.float64)\n        with", "wide = rows[block]\n        with",
          "the Gramian is summed in float32"),
    numpy("sgd-numpy-swapped-lambdas", "sgd_reference.py", "(g * x - lambda_y * y)", "(g * x - lambda_x * y)",
          "columns shrink by the rows' regularization"),
    numpy("sgd-numpy-radix", "sgd_reference.py", "np.uint8 if blocks <= 16", "np.uint8 if blocks <= 17",
          "numbers of blocks wrap at 256"),
    # --- models and threads
    python("model-objective-without-penalty", f"{MODELS}/als/implicit_objective.py",
           "objective = solved.objective + penalty(other, fixed, solver) + constant",
           "objective = solved.objective + constant", "the objective leaves one side's regularization out",
           "tests/models/test_implicit_als.py"),
    python("model-confidence-without-one", f"{MODELS}/als/implicit_objective.py",
           'if self.weighting != "proportional":\n            c += 1', 'if self.weighting == "hu":\n            c += 1',
           "confidences of some weightings lose their 1", "tests/models/test_implicit_als.py"),
    python("model-no-restart", f"{MODELS}/als/momentum.py",
           'if not done.record["objective"] <= self._objective:', "if False:",
           "momentum goes on although the objective rises", "tests/models/test_acceleration.py"),
    python("model-seen-not-excluded", f"{MODELS}/_base.py",
           "exclude = (seen.indptr, seen.indices) if exclude_seen and seen is not None else None", "exclude = None",
           "items that a user has seen are recommended", "tests/models/test_implicit_als.py"),
    python("model-similar-to-itself", f"{MODELS}/_base.py", "itself = (np.arange(len(rows) + 1), rows)",
           "itself = None", "an item is similar to itself", "tests/models/test_implicit_als.py"),
    python("model-bulk-offset", f"{MODELS}/_serving.py", "at = np.arange(start, stop)",
           "at = np.arange(stop - start)", "later blocks leave out what the first users have seen",
           "tests/models/test_bulk.py"),
    python("model-partial-fit-loses-factors", f"{MODELS}/_fold_in.py", "factors[: len(own)] = own",
           "factors[: len(own) - 1] = own[:-1]", "appending a user clears the last one",
           "tests/models/test_implicit_als.py", "tests/models/test_explicit_als.py"),
    python("model-row-of-message", f"{MODELS}/als/half_sweep.py", "raise _singular(problems, first + status - 1)",
           "raise _singular(problems, first + status)", "a singular row is called by its neighbour's number",
           "tests/models/test_explicit_als.py", "tests/models/test_implicit_als.py"),
    python("model-bias-penalty", f"{MODELS}/sgd/penalty.py", "+ biases * np.square(bias, dtype=np.float64))", ")",
           "the objective leaves the biases' regularization out", "tests/models/test_biased_mf.py",
           "tests/models/test_stochastic_models.py"),
    python("model-first-word", f"{MODELS}/sgd/events.py",
           "last = np.ones(len(key), bool)\n    last[:-1] = key[order[1:]] != key[order[:-1]]",
           "last = np.ones(len(key), bool)\n    last[1:] = key[order[1:]] != key[order[:-1]]",
           "of several events on a pair the first one counts", "tests/models/test_cosine_mf.py"),
    python("threads-results-out-of-order", "src/alternant/_utils/threads.py", "results[i] = function(arguments[i])",
           "results[len(arguments) - 1 - len(left)] = function(arguments[i])",
           "results of parallel calls are in the order in which threads finish", "tests/kernels/test_threads.py"),
    python("threads-fork", "src/alternant/_utils/threads.py",
           "return num_threads if _openmp_owner in (None, os.getpid()) else 1", "return num_threads",
           "a forked child waits for threads that it does not have", "tests/kernels/test_threads.py"),
    python("threads-blas-limit", "src/alternant/_utils/threads.py", "if not _open_blocks:\n", "if True:\n",
           "the first block to end lifts the limit of all", "tests/kernels/test_threads.py"),
)
