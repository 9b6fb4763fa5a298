"""EASE: each item predicted from all others by ridge regression, in closed form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
import scipy
from numpy.typing import NDArray

from .._utils.memory import GIB, available_bytes
from .._utils.threads import resolve_num_threads
from .._utils.validation import check_show_progress
from ..data.csr import CSR
from . import _ridge
from ._item_weights import WEIGHTINGS, ItemWeightsModel, entries, rows_with_constant
from ._memory import FitMemory
from ._parameters import AUTO, Rule, number_rule
from ._sklearn import check_unused
from ._traits import Traits

if TYPE_CHECKING:
    from .._typing import Auto, BackendName, DType, Rated
    from ._partial_fit import Change
    from ._sparse_rows import SparseRows

WORKSPACE = 1 << 28  # bytes, and for each thread:
THREAD_SPACE = 1 << 25


class EASE(ItemWeightsModel):
    r"""Embarrassingly shallow autoencoder: item-item weights by ridge regression, in closed form.

    Predicts each item from the other items of the same user: minimizes

    .. math:: |X - 1 b^T - X B|^2 + \lambda |B|^2 \quad\text{with}\quad B_{jj} = 0

    over the item-item weights B and the intercepts b of the items. With G the Gram matrix of the columns of X, centered
    by their means :math:`\mu`, and :math:`P = (G + \lambda I)^{-1}`,

    .. math:: B_{ij} = -P_{ij} / P_{jj} \quad (i \ne j), \qquad b = \mu - \mu B,

    and the scores of a user with row x are :math:`b + x B`. No parameters belong to users: new users are scored in the
    same way as those of the fit. With ``intercept=False``, X is not centered and b is 0, as in the paper; a user
    without interactions then gets the scores of the mean user. The intercept helps much if histories are short.

    A fit takes memory for n^2 pairs of items and n^3 multiply-adds, whatever the number of users: seconds for 5,000
    items, minutes for 20,000. It raises before it begins if memory does not suffice. Arithmetic is in float64, divided
    into fixed strips, so that the weights are bit-identical on any number of threads. `similar_items` compares the
    columns of B, that is, the weights that predict an item; its first call takes as much memory as B again.

    Parameters
    ----------
    regularization : float or "auto"
        lambda, greater than 0. ``"auto"``: ``15 q (n_u n_i)^0.3``, with n_u and n_i the mean numbers of interactions
        of users and of items (of those that have any), and q the mean square of the stored entries of X. On eight data
        sets of 100 to 17,600 items, with densities from 6e-4 to 0.2, NDCG was within about 1 % of that of the best
        lambda.
    weighting : {"auto", "binary", "log", "proportional"}
        The entry of X for an interaction r.

        | ``"binary"``: 1, or -1 for a dislike, whose r is negative.
        | ``"log"``: ``log2(1 + |r| / epsilon)`` with the sign of r; epsilon is the median of all ``|r|``, for which the
          entry is 1.
        | ``"proportional"``: r itself.
        | ``"auto"``: ``"binary"``, which ranked better than ``"log"`` if interactions are hours or counts.
    intercept : bool
        Whether to learn b, the part of the scores that is the same for all users.
    dtype : {"float32", "float64"} or NumPy dtype
        Data type of the weights and scores.
    num_threads : int or None
        Number of threads; None uses all that are available to the process.
    backend : {"auto", "cython", "numba", "numpy"}
        Used for ranking. ``"auto"`` follows `alternant.set_backend` and ``ALTERNANT_BACKEND``.

    Attributes
    ----------
    user_factors : SparseRows, shape (n_users, n_items + 1)
        The rows x, as a SciPy CSR array. The last column multiplies that of `item_factors`: with an intercept it is 1
        for all users, else only for those without interactions.
    item_factors : array, shape (n_items, n_items + 1)
        The transpose of B and, in the last column, b or (without an intercept) the scores of the mean user.
    regularization_, weighting_, epsilon_, has_intercept_
        The values of the fit (`epsilon_` is the median of ``|r|``), with which new users are folded in.
    interactions_ : CSR
        The interactions of the fit.
    backend_ : str
        The backend selected during the fit.

    References
    ----------
    H. Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019.
    """

    traits: ClassVar[Traits] = Traits(
        "implicit", "clicks, plays, purchases of up to 20,000 items", "ridge regression in closed form"
    )
    _choices: ClassVar[dict[str, tuple[str, ...]]] = {"weighting": (AUTO, *WEIGHTINGS)}
    _automatic = ("regularization",)
    _rules: ClassVar[dict[str, Rule]] = {"regularization": number_rule(0, above=True)}
    _fitted_state = ("regularization_", "weighting_", "epsilon_", "has_intercept_", "backend_")

    regularization_: float
    weighting_: str
    epsilon_: float
    has_intercept_: bool
    backend_: str

    def __init__(
        self,
        *,
        regularization: float | Auto = "auto",
        weighting: Literal["auto", "binary", "log", "proportional"] = "auto",
        intercept: bool = True,
        dtype: DType = "float32",
        num_threads: int | None = None,
        backend: BackendName = "auto",
    ) -> None:
        self.regularization = regularization
        self.weighting = weighting
        self.intercept = intercept
        self.dtype = dtype
        self.num_threads = num_threads
        self.backend = backend
        self._check_params()

    def fit(self, interactions: Rated, y: Any = None, *, show_progress: bool | None = None) -> Self:
        """Learn the weights.

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
        MemoryError
            If the pairs of items do not fit in memory; nothing has been computed by then.
        """
        self._check_params()
        check_unused(y)
        check_show_progress(show_progress)
        backend = self._backend().name
        matrix, ids = self._matrix_and_ids(interactions)
        rows = self._check_rows("interactions", matrix, np.dtype(self.dtype), copy=True)
        self._assign(**self._solved(rows), backend_=backend, **ids)
        return self

    def auto_parameters(self, rows: CSR) -> dict[str, Any]:
        """Return the values of the parameters that may be ``"auto"``, by name."""
        chosen = self._chosen(rows)
        return {"regularization": chosen["regularization"], "weighting": chosen["weighting"]}

    def search_space(self, rows: CSR | None = None) -> dict[str, Any]:
        """Return a range around what ``"auto"`` chooses for `rows`, and the weightings if sizes differ."""
        if rows is None:
            raise ValueError("the search space of EASE depends on the interactions: pass them")
        regularization = type(self)(**self.get_params() | {"regularization": AUTO})._chosen(rows)["regularization"]
        space: dict[str, Any] = {"regularization": (regularization / 16, regularization * 16, "log")}
        if self.weighting == AUTO and len(np.unique(np.abs(rows.data[:1000]))) > 1:
            space["weighting"] = ["binary", "log"]
        return space

    def fit_memory(self, n_users: int, n_items: int, n_pairs: int) -> FitMemory:
        """Estimate the memory of a fit: that of the pairs of items."""
        each = _bytes_per_pair_of_items(np.dtype(self.dtype))
        return FitMemory(entries=32 * n_pairs + WORKSPACE, vectors=0, factors=each * n_items * (n_items + 1))

    def iteration_work(self, n_users: int, n_items: int, n_pairs: int) -> float:
        """Return the work of a fit."""
        return n_items**3 / 32 + 3 * n_pairs**2 / max(1, n_users)

    # The fit

    def _chosen(self, rows: CSR) -> dict[str, Any]:
        """Return the values of the parameters that may be "auto", and the scale of sizes."""
        weighting = "binary" if self.weighting == AUTO else self.weighting
        epsilon = float(np.median(np.abs(rows.data))) if len(rows.data) else 1.0
        regularization = self.regularization
        if regularization == AUTO:
            regularization = _regularization(rows, entries(rows.data, weighting, epsilon))
        return {"regularization": float(regularization), "weighting": weighting, "epsilon": epsilon}

    def _solved(self, rows: CSR) -> dict[str, Any]:
        """Return the fitted attributes that follow from the interactions."""
        _check_memory(rows, resolve_num_threads(self.num_threads))
        chosen = self._chosen(rows)
        users = _user_rows(rows, chosen["weighting"], chosen["epsilon"], self.intercept)
        columns = self._weights(users, float(chosen["regularization"]))
        return {
            "user_factors": users, "item_factors": columns.T, "interactions_": rows,
            "has_intercept_": bool(self.intercept), **{f"{name}_": value for name, value in chosen.items()},
        }  # fmt: skip

    def _learn_from(self, change: Change) -> None:
        self._assign(**self._solved(change.rows))

    def _weights(self, users: SparseRows, regularization: float) -> NDArray[Any]:
        """Return B and, as its last row, the coefficients of the last column of users."""
        m, n = users.shape[0], users.shape[1] - 1
        threads, dtype = resolve_num_threads(self.num_threads), users.dtype
        memory = np.empty((n + 1, n), np.float64)
        matrix = memory[:n]
        x: Any = scipy.sparse.csr_array(users[:, :n], dtype=np.float64)
        means = np.asarray(x.sum(axis=0)) / m
        _ridge.gram(x, matrix, threads)
        scale = matrix.diagonal() + regularization
        if self.intercept:
            _ridge.center(matrix, means, m)
        matrix[np.diag_indices(n)] += regularization
        try:
            _ridge.negative_inverse(matrix, threads, scale)
        except np.linalg.LinAlgError:
            raise ValueError(
                f"regularization must be greater than the rounding errors of the Gram matrix, got {regularization!r}: "
                "pass a greater one, or 'auto'"
            ) from None
        out = memory if dtype == np.float64 else np.empty((n + 1, n), dtype)
        _ridge.weights_from(matrix, out[:n])
        of_mean = np.einsum("i,ij->j", means, out[:n], dtype=np.float64)
        out[n] = means - of_mean if self.intercept else of_mean
        return out

    def _fold_in(
        self, rows: CSR, fixed: NDArray[Any], kind: str, numbers: NDArray[np.int64] | None = None
    ) -> Any:
        weighting = getattr(self, "weighting_", "binary" if self.weighting == AUTO else self.weighting)
        intercept = getattr(self, "has_intercept_", self.intercept)
        return _user_rows(rows, weighting, getattr(self, "epsilon_", 1.0), intercept)

    def _latent(self, factors: Any) -> Any:
        return factors[:, :-1]


def _user_rows(rows: CSR, weighting: str, epsilon: float, intercept: bool) -> SparseRows:
    """Return the rows of X and a last column: 1 for all users, or for those without interactions."""
    values, lengths = entries(rows.data, weighting, epsilon), np.diff(rows.indptr)
    last = np.ones(len(lengths), np.bool_) if intercept else lengths == 0
    return rows_with_constant(CSR(rows.indptr, rows.indices, values, rows.shape), last)


def _regularization(rows: CSR, values: NDArray[Any]) -> float:
    """Return lambda, which grows with the interactions per user and per item, but much more slowly than G."""
    if not len(values):
        return 1.0  # nothing is learned
    n_u, n_i = (len(values) / np.count_nonzero(counts) for counts in
                (np.diff(rows.indptr), np.bincount(rows.indices, minlength=rows.shape[1])))  # fmt: skip
    return float(15 * np.square(values, dtype=np.float64).mean() * (n_u * n_i) ** 0.3)


def _bytes_per_pair_of_items(dtype: np.dtype[Any]) -> int:
    """Return the memory of an entry of the Gram matrix, which becomes its inverse, and of the weights."""
    return 8 + (dtype.itemsize if dtype.itemsize < 8 else 0)


def _check_memory(rows: CSR, threads: int) -> None:
    """Raise if the pairs of items do not fit in memory."""
    n_items, each = rows.shape[1], _bytes_per_pair_of_items(rows.data.dtype)
    space, available = WORKSPACE + threads * THREAD_SPACE + 32 * len(rows.data), available_bytes()
    needed = each * n_items * (n_items + 1) + space
    if available is not None and needed > available:
        most = int(np.sqrt(max(0, available - space) / each))
        raise MemoryError(
            f"EASE needs {needed / GIB:.1f} GiB of memory for the pairs of {n_items:,} items, but only "
            f"{available / GIB:.1f} GiB are available: fit it on the {most:,} items with the most interactions, or "
            "use ImplicitALS, whose memory does not grow with pairs of items"
        )
