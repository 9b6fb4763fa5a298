"""ItemKNN: an item is scored by its similarity to the items in the user's history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from .._utils.threads import resolve_num_threads
from .._utils.validation import check_show_progress
from ..data.csr import CSR
from ._item_weights import WEIGHTINGS, ItemWeightsModel, cut_by_entries, entries, rows_with_constant
from ._parameters import AUTO, Rule, integer_rule, number_rule
from ._sklearn import check_unused
from ._traits import Traits

if TYPE_CHECKING:
    from .._typing import BackendName, DType, Rated
    from ._partial_fit import Change
    from ._sparse_rows import SparseColumns, SparseRows

SIMILARITIES = ("unit-cosine", "cosine", "tfidf", "bm25")
K1, B = 1.2, 0.75  # of BM25, as usual in text retrieval
FILL = 2.0**-20  # of an item's popularity, added to all scores: it ranks what no neighbour scores
PRODUCTS_PER_CALL = 1 << 24  # of the kernel, between two checks for Ctrl-C: some hundredths of a second


class ItemKNN(ItemWeightsModel):
    r"""Item-item nearest neighbours: cosines of the items' columns, weighted by the activity of users.

    With :math:`a_i` the column of item i, whose entry for user u is :math:`x_{ui} g_{ui}`, the similarity of item i in
    a history to another item j is

    .. math:: s_{ij} = \frac{a_i \cdot a_j}{|a_i| |a_j| (n_{max} / n_j)^p + h \, \overline{a^2}}

    with :math:`n_j` the number of interactions of item j, :math:`\overline{a^2}` the mean square of all entries, h the
    shrinkage and p the popularity exponent. For each i, the greatest `neighbours` of them are kept. The score of item j
    for a user is :math:`\sum_i x_{ui} s_{ij}` and a millionth of its popularity, the share of users who like it, which
    completes lists if there are few neighbours; a user without interactions gets the most popular items. No parameters
    belong to users: new users are scored in the same way as those of the fit.

    Nothing is trained: a fit takes seconds, and memory for ``n_items * neighbours`` weights. Its time grows with the
    square of the number of items of each user: a single user with 30,000 takes seconds, too. `similar_items` returns
    the neighbours kept and their similarities; lists are shorter than k if there are fewer. On sparse catalogues with
    short histories (Gowalla), lists are better than those of factor models; on dense ones they are worse.

    Parameters
    ----------
    neighbours : int
        Number of neighbours of each item.
    similarity : {"unit-cosine", "cosine", "tfidf", "bm25"}
        The weights g of the interactions.

        | ``"unit-cosine"``: ``1 / |x_u|``, so that all users weigh the same (Deshpande and Karypis, 2004).
        | ``"cosine"``: 1.
        | ``"tfidf"``: ``log(n_items / n_u)``, with n_u the number of interactions of the user.
        | ``"bm25"``: the same, and entries saturate as counts of terms do in BM25 (k1 = 1.2, b = 0.75).
    weighting : {"auto", "binary", "log", "proportional"}
        The entry x for an interaction r.

        | ``"binary"``: 1, or -1 for a dislike, whose r is negative.
        | ``"log"``: ``log2(1 + |r| / epsilon)`` with the sign of r; epsilon is the median of all ``|r|``.
        | ``"proportional"``: r itself.
        | ``"auto"``: ``"binary"``, or for BM25, which is about counts, ``"proportional"``.
    shrinkage : float
        h: how far the similarities of items with few common users are lowered, 0 or more.
    popularity_exponent : float
        p: how far those to unpopular items are lowered, 0 or more.
    dtype : {"float32", "float64"} or NumPy dtype
        Data type of the weights and scores.
    num_threads : int or None
        Number of threads; None uses all that are available to the process.
    backend : {"auto", "cython", "numba", "numpy"}
        ``"auto"`` follows `alternant.set_backend` and ``ALTERNANT_BACKEND``.

    Attributes
    ----------
    user_factors : SparseRows, shape (n_users, n_items + 1)
        The rows x, as a SciPy CSR array. The last column multiplies that of `item_factors`: it is 1 for users without
        interactions, else 2^-20.
    item_factors : SparseColumns, shape (n_items, n_items + 1)
        The transpose of s, as a SciPy CSC array, and in the last column the popularity.
    weighting_, epsilon_
        The values of the fit (`epsilon_` is the median of ``|r|``), with which new users are folded in.
    interactions_ : CSR
        The interactions of the fit.
    backend_ : str
        The backend selected during the fit.

    References
    ----------
    M. Deshpande, G. Karypis, "Item-based top-N recommendation algorithms", TOIS 22(1), 2004. M. Ferrari Dacrema et al.,
    "Are we really making much progress?", RecSys 2019, on shrinkage.
    """

    traits: ClassVar[Traits] = Traits(
        "implicit", "clicks, plays, purchases, many items with short histories", "similarity of items, nothing trained"
    )
    _choices: ClassVar[dict[str, tuple[str, ...]]] = {
        "similarity": SIMILARITIES, "weighting": (AUTO, *WEIGHTINGS)
    }  # fmt: skip
    _rules: ClassVar[dict[str, Rule]] = {
        "neighbours": integer_rule(1), "shrinkage": number_rule(0), "popularity_exponent": number_rule(0)
    }  # fmt: skip
    _fitted_state = ("weighting_", "epsilon_", "backend_")

    item_factors: SparseColumns  # type: ignore[assignment]
    weighting_: str
    epsilon_: float
    backend_: str

    def __init__(
        self,
        *,
        neighbours: int = 100,
        similarity: Literal["unit-cosine", "cosine", "tfidf", "bm25"] = "unit-cosine",
        weighting: Literal["auto", "binary", "log", "proportional"] = "auto",
        shrinkage: float = 5.0,
        popularity_exponent: float = 0.2,
        dtype: DType = "float32",
        num_threads: int | None = None,
        backend: BackendName = "auto",
    ) -> None:
        self.neighbours = neighbours
        self.similarity = similarity
        self.weighting = weighting
        self.shrinkage = shrinkage
        self.popularity_exponent = popularity_exponent
        self.dtype = dtype
        self.num_threads = num_threads
        self.backend = backend
        self._check_params()

    def fit(self, interactions: Rated, y: Any = None, *, show_progress: bool | None = None) -> Self:
        """Find the neighbours of each item.

        Parameters
        ----------
        interactions : Interactions, or sparse matrix or array, or dense array, shape (n_users, n_items)
            The value r of every observed pair. Sparse in any SciPy format, whose duplicates are summed and stored zeros
            ignored; dense, including lists of lists, with 0 where there is no interaction.
        y : None
            Not used; present for compatibility with scikit-learn.
        show_progress : bool, optional
            Not used: there are no iterations to show. Present so that models can be fitted by the same code.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If the input or a parameter is invalid; the model is left unchanged.
        """
        self._check_params()
        check_unused(y)
        check_show_progress(show_progress)
        backend = self._backend()
        matrix, ids = self._matrix_and_ids(interactions)
        rows = self._check_rows("interactions", matrix, np.dtype(self.dtype), copy=True)
        self._assign(**self._found(rows), backend_=backend.name, **ids)
        return self

    def _found(self, rows: CSR) -> dict[str, Any]:
        """Return the fitted attributes that follow from the interactions."""
        weighting = self._weighting()
        epsilon = float(np.median(np.abs(rows.data))) if len(rows.data) else 1.0
        x = CSR(rows.indptr, rows.indices, entries(rows.data, weighting, epsilon), rows.shape)
        return {
            "user_factors": _user_rows(x), "item_factors": _with_popularity(self._similarities(x), rows),
            "interactions_": rows, "weighting_": weighting, "epsilon_": epsilon,
        }  # fmt: skip

    def _learn_from(self, change: Change) -> None:
        self._assign(**self._found(change.rows))

    def auto_parameters(self, rows: CSR) -> dict[str, Any]:
        """Return the value of the parameter that may be ``"auto"``, by name."""
        return {"weighting": self._weighting()}

    def search_space(self, rows: CSR | None = None) -> dict[str, Any]:
        """Return ranges of neighbours, shrinkage and exponent, and the similarities."""
        space: dict[str, Any] = {
            "neighbours": (20, 500, "log"), "similarity": ["unit-cosine", "tfidf", "cosine"],
            "shrinkage": (0.5, 100.0, "log"), "popularity_exponent": (0.0, 0.5),
        }  # fmt: skip
        if rows is not None and self.weighting == AUTO and len(np.unique(np.abs(rows.data[:1000]))) > 1:
            space["weighting"] = ["binary", "log"]
        return space

    def iteration_work(self, n_users: int, n_items: int, n_pairs: int) -> float:
        """Return the work of a fit."""
        return 8 * n_pairs**2 / max(1, n_users)

    # The fit

    def _weighting(self) -> str:
        if self.weighting != AUTO:
            return self.weighting
        return "proportional" if self.similarity == "bm25" else "binary"

    def _similarities(self, x: CSR) -> CSR:
        """Return the neighbours of each item, one row each."""
        weighted = self._weighted(x)
        columns = weighted.transpose()
        n, dtype = x.shape[1], x.data.dtype
        squares = np.square(weighted.data, dtype=np.float64)
        counts = np.maximum(np.bincount(x.indices, minlength=n), 1)
        norms = np.sqrt(np.bincount(weighted.indices, squares, minlength=n))
        with np.errstate(over="ignore", invalid="ignore"):  # a huge exponent makes similarities 0
            lowered = (norms * (counts.max(initial=1) / counts) ** self.popularity_exponent).astype(dtype)
        norms, shrinkage = norms.astype(dtype), self.shrinkage * float(squares.sum()) / max(1, len(x.data))
        lengths, k = np.diff(weighted.indptr), min(self.neighbours, max(1, n - 1))
        products = np.bincount(weighted.indices, np.repeat(lengths, lengths), minlength=n)
        right, threads = (weighted.indptr, weighted.indices, weighted.data), resolve_num_threads(self.num_threads)

        def neighbours(start: int, stop: int) -> CSR:
            part, itself = columns.take(np.arange(start, stop)), (np.arange(stop - start + 1), np.arange(start, stop))
            ids, values = np.empty((stop - start, k), np.int32), np.empty((stop - start, k), dtype)
            self._backend().top_k_sparse(
                (part.indptr, part.indices, part.data), right, n, k, itself, ids, values, norms[start:stop], lowered,
                shrinkage, threads,
            )  # fmt: skip
            return _by_column(ids, values, n)

        blocks = [neighbours(*block) for block in cut_by_entries(products + k, PRODUCTS_PER_CALL)]
        lengths, ids, values = (
            np.concatenate(parts)
            for parts in zip(*((np.diff(block.indptr), block.indices, block.data) for block in blocks), strict=True)
        )
        return CSR.of(np.concatenate([[0], np.cumsum(lengths)]), ids, values, (n, n))

    def _weighted(self, x: CSR) -> CSR:
        """Return x with its entries multiplied by g."""
        lengths = np.diff(x.indptr)
        owner = np.repeat(np.arange(len(lengths)), lengths)
        data = x.data.astype(np.float64)
        if self.similarity == "bm25":
            sizes = np.bincount(x.indices, np.abs(data), minlength=x.shape[1])
            damping = K1 * (1 - B + B * sizes / (sizes.mean() or 1.0))
            data *= (K1 + 1) / (damping[x.indices] + np.abs(data))
        # Similarities do not depend on the scale, but products of large or small entries leave the range of the dtype.
        data = np.ldexp(data, -np.frexp(np.abs(data).max(initial=0))[1])
        if self.similarity == "unit-cosine":
            norms = np.sqrt(np.bincount(owner, np.square(data), minlength=len(lengths)))
            norms[norms == 0] = 1  # squares may still underflow
            data /= norms[owner]
        elif self.similarity != "cosine":
            data *= np.log(x.shape[1] / lengths[owner])
        keep = data != 0  # a user of all items, by TF-IDF
        return CSR(x.indptr, x.indices, data.astype(x.data.dtype), x.shape).filter(keep)

    def _fold_in(
        self, rows: CSR, fixed: Any, kind: str, numbers: NDArray[np.int64] | None = None
    ) -> Any:
        weighting = getattr(self, "weighting_", self._weighting())
        values = entries(rows.data, weighting, getattr(self, "epsilon_", 1.0))
        return _user_rows(CSR(rows.indptr, rows.indices, values, rows.shape))

    # Serving

    def _neighbours(
        self, factors: Any, rows: NDArray[np.int64], k: int, candidates: Any, kind: str, shrinkage: float | None
    ) -> tuple[NDArray[np.int32], NDArray[Any]]:
        from ._sparse_rows import sparse_columns

        if kind == "user":
            return super()._neighbours(factors, rows, k, candidates, kind, shrinkage)
        if shrinkage:
            raise ValueError(
                f"ItemKNN lowers similarities in its fit, got shrinkage={shrinkage!r} in similar_items: leave it out, "
                "or pass it to ItemKNN(shrinkage=...)"
            )
        stored = sparse_columns(factors).to_csr()

        def similarities(start: int, stop: int) -> NDArray[Any]:
            chosen = stored.take(rows[start:stop])
            block = np.full((stop - start, len(factors)), np.nan, factors.dtype)  # NaN is never returned
            block[chosen.positions()] = chosen.data
            return block

        return self._best_of(similarities, len(rows), factors, k, None, candidates)

    def _mean_row(self, kind: str) -> Any:
        if kind == "item":
            return super()._mean_row(kind)
        nobody = np.zeros(self.user_factors.shape[1], self.user_factors.dtype)
        nobody[-1] = 1  # the popularity, which ranks better than the neighbours of what everybody likes
        return nobody

    def _latent(self, factors: Any) -> Any:
        return factors[:, :-1]


def _user_rows(x: CSR) -> SparseRows:
    """Return the rows x and their last column."""
    return rows_with_constant(x, np.where(np.diff(x.indptr) == 0, 1, FILL))


def _by_column(ids: NDArray[np.int32], values: NDArray[Any], n: int) -> CSR:
    """Return lists of columns, best first and padded with -1, as rows in canonical form."""
    order = np.argsort(ids, axis=1)
    ids, values = np.take_along_axis(ids, order, axis=1), np.take_along_axis(values, order, axis=1)
    found = ids >= 0
    return CSR.of(np.concatenate([[0], np.cumsum(found.sum(axis=1))]), ids[found], values[found], (len(ids), n))


def _with_popularity(similar: CSR, rows: CSR) -> SparseColumns:
    """Return the transpose of the similarities and, as a last column, the share of users who like each item."""
    from ._sparse_rows import SparseColumns

    m, n = rows.shape
    shares = np.bincount(rows.indices, rows.data > 0, minlength=n) / m
    last = CSR(np.array([0, n]), np.arange(n, dtype=similar.indices.dtype), shares.astype(rows.data.dtype), (1, n))
    return SparseColumns.of(similar.replace(np.array([n]), last))
